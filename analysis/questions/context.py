"""The context of an analysis: the study, its plan, and what several questions compute from both, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.share_intervals import Bound, bounded_intervals
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan
from qloc.registration import Registration
from qloc.vocabulary import PAIR

ALL_RELATIONS = "All relations"
"""Stands for a relation in tables by relation."""


@dataclass(frozen=True)
class AnalysisContext:
    """A study and the plan by which it is analyzed; what several questions need is computed once.

    Attributes
    ----------
    study : Study
        What is analyzed.
    plan : AnalysisPlan
        Method, thresholds, draws, margins, and which tests are confirmatory.
    registration : Registration or None
        What the plan was locked by, before looking; None where it was not.
    """

    study: Study
    plan: AnalysisPlan
    registration: Registration | None = None

    def __post_init__(self) -> None:
        """Let every query count where the plan says so."""
        if self.plan.queries == "all":
            object.__setattr__(self, "study", replace(self.study, every_query=True))

    @cached_property
    def sets(self) -> NeuronSets:
        """The sets of all queries by the plan's method and threshold, those of the headline."""
        return self.neurons(self.plan.method, self.plan.threshold)

    @cached_property
    def by_method(self) -> dict[str, NeuronSets]:
        """The sets of all queries at the plan's threshold, by each attribution method of the store."""
        own = {self.plan.method: self.sets}
        others = [name for name in self.study.methods if name not in own]
        return own | {name: self.study.neurons(name, self.plan.threshold) for name in others}

    def neurons(self, method: str, threshold: float) -> NeuronSets:
        """Return the sets of all queries by a method and a threshold.

        The thresholds of the plan are read together, once.

        Parameters
        ----------
        method : str
            Attribution method of the store.
        threshold : float
            Of the sets.

        Returns
        -------
        NeuronSets
            Of all queries.
        """
        if (method, threshold) not in self._read:
            able = self.thresholds[0]
            together = able if threshold in able else [threshold]
            by_threshold = zip(together, self.study.neurons_at(together, method), strict=True)
            self._read.update({(method, t): sets for t, sets in by_threshold})
        return self._read[method, threshold]

    @cached_property
    def _read(self) -> dict[tuple[str, float], NeuronSets]:
        return {}

    @cached_property
    def thresholds(self) -> tuple[list[float], list[float]]:
        """Attribution thresholds of the plan: those that the store can answer, and those below its floor."""
        wanted = sorted({*self.plan.thresholds, self.plan.threshold})
        return [t for t in wanted if t >= self.floor], [t for t in wanted if t < self.floor]

    @cached_property
    def known(self) -> NeuronSets:
        """The sets of known queries of facts that do not leak."""
        return self.sets.known()

    @cached_property
    def used(self) -> NeuronSets:
        """The non-empty sets of known queries of facts that do not leak."""
        return filled(self.known)

    @cached_property
    def scores(self) -> xr.Dataset:
        """Consistency over known queries."""
        return consistency(self.sets)

    @cached_property
    def pairs(self) -> NeuronSets:
        """The sets of all queries that are minimal pairs."""
        return self.sets.select(self.sets.queries["kind"] == PAIR)

    @cached_property
    def has_groups(self) -> bool:
        """Whether some minimal pairs make up a group, so that syntax has scores as facts have."""
        return bool((np.bincount(self.pairs.queries["fact"]) > 1).any())

    @cached_property
    def scores_of_pairs(self) -> xr.Dataset:
        """Consistency over known minimal pairs; NaN for facts."""
        return consistency(self.pairs)

    @cached_property
    def scores_all(self) -> xr.Dataset:
        """Consistency over all queries of facts that do not leak."""
        return consistency(self.sets, known=False)

    @cached_property
    def scores_strict(self) -> xr.Dataset | None:
        """Consistency over queries whose own object ranks first; None where no other right one does."""
        queries = self.sets.queries
        by_another = queries["known"] & ~queries.get("own_first", queries["known"])
        by_another &= queries["kind"] != PAIR  # a pair is known by its bad form, whatever ranks first
        return consistency(self.sets.select(~by_another)) if by_another.any() else None

    @cached_property
    def relations(self) -> tuple[NDArray[Any], Ints]:
        """Relations, sorted, and each fact's place among them."""
        return relation_codes(self.sets)

    @cached_property
    def clusters(self) -> tuple[Ints, Ints]:
        """Relation and answer of each fact, by which intervals are clustered."""
        return self.relations[1], answer_codes(self.sets)

    @cached_property
    def kind_of_fact(self) -> NDArray[Any]:
        """``fact`` or ``minimal_pair``: str, (fact,); from the queries where /facts does not say it."""
        if "kind" in self.sets.facts:
            return self.sets.facts["kind"]
        kind = np.full(self.sets.n_facts, "fact", dtype="<U12")
        kind[self.sets.queries["fact"]] = self.sets.queries["kind"]
        return kind

    @cached_property
    def of_headline(self) -> NDArray[np.bool_]:
        """Facts that headline figures are of: bool, (fact,); minimal pairs where nothing else was asked."""
        return np.asarray((self.kind_of_fact != PAIR) | self.pairs_alone)

    @cached_property
    def pairs_alone(self) -> bool:
        """Whether minimal pairs were asked and nothing else: they are analyzed as facts then."""
        return 0 < self.pairs.n_queries == self.sets.n_queries

    def scores_of(self, here: NDArray[np.bool_]) -> xr.Dataset:
        """Return the consistency of a relation's facts, or of a paradigm's minimal pairs.

        Parameters
        ----------
        here : bool ndarray, shape (fact,)
            Facts of one relation or paradigm.

        Returns
        -------
        xarray.Dataset
            Along all facts, over known queries: ``scores``, or of minimal pairs ``scores_of_pairs``.
        """
        return self.scores_of_pairs if np.any(self.kind_of_fact[here] == PAIR) else self.scores

    @property
    def draws(self) -> Draws:
        """Numbers of draws, and the seed."""
        p = self.plan
        return Draws(
            n_permutations=p.n_permutations,
            n_bootstrap=p.n_bootstrap,
            confidence=p.confidence,
            alpha=p.alpha,
            seed=p.seed,
        )

    @cached_property
    def floor(self) -> float:
        """The largest floor of a panel: thresholds below it cannot be asked for; 0 where dense."""
        floors = self.study.signals_of(self.plan.method).floors
        return 0.0 if floors is None else float(np.nanmax(floors, initial=0.0))

    def considered(self, known: bool = True) -> NeuronSets:
        """Return the sets that scores run over.

        Parameters
        ----------
        known : bool, default True
            Whether to count known queries only.

        Returns
        -------
        NeuronSets
            Of facts that do not leak.
        """
        return self.known if known else considered(self.sets, known=False)

    def intervals(
        self,
        values: Floats,
        clusters: tuple[Ints, ...] | None = None,
        bounds: tuple[Bound, ...] = (),
    ) -> tuple[Floats, Floats]:
        """Return the intervals of tables of the means of columns.

        Parameters
        ----------
        values : float64 ndarray, shape (fact, column)
            NaN where a fact has no value.
        clusters : tuple of int64 ndarray, shape (fact,), optional
            Relation and answer where it is not given.
        bounds : tuple of {"none", "share", "negative"}, optional
            Range of each column; any number where it is not given.

        Returns
        -------
        low, high : float64 ndarray, shape (column,)
            NaN where there are too few clusters, or these do not differ.
        """
        return bounded_intervals(values, clusters or self.clusters, bounds, confidence=self.plan.confidence)
