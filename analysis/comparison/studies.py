"""Several studies on the facts and queries that all of their models were asked.

Neuron numbers of different networks are unrelated, so each model keeps its own
:class:`~qloc.neurons.NeuronSets`; values of facts and queries are stacked along a dimension ``model``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inputs.selectable import FACT_LABELS, QUERY_LABELS, selectable
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.arrays import Ints
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.vocabulary import FACT, QUERY

MODEL = "model"
"""Dimension along which values of several models are stacked."""

FactKey = tuple[str, ...]
"""Relation, subject, object, feature, template, prompt and a number: what identifies a query in any study."""

_OF_FACT = ("relation", "subject", "object", "feature")
_OF_QUERY = ("template", "prompt")


@dataclass(frozen=True)
class Studies:
    """Several extractions, and the facts and queries that all of their models were asked.

    A query is the same in two studies where relation, subject, object, template and prompt are. Facts keep
    the order of the first study; those without a common query are left out.

    Attributes
    ----------
    studies : mapping of str to Study
        Studies by the name of their model; at least two, with a query in common.
    every_query : bool
        Whether every common query counts, not only those that all models know.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> both = Studies({"early": study, "late": study})
    >>> both.queries.sizes["model"], both.queries.sizes["query"] == study.queries.sizes["query"]
    (2, True)
    """

    studies: Mapping[str, Study] = field(repr=False)
    every_query: bool = False

    def __post_init__(self) -> None:
        if len(self.studies) < 2:
            rule, action = "two at least", "Give another store, or open the one by itself"
            raise InputError(message("studies", len(self.studies), rule, "a comparison", action))
        if not len(self.rows[0]):
            rule = "at least one query that all models were asked (same relation, subject, object and prompt)"
            action = "Extract the same facts from each model"
            raise InputError(message("common queries", 0, rule, ", ".join(self.models), action))

    def __repr__(self) -> str:
        n_facts, n_queries = len(self.fact_rows[0]), len(self.rows[0])
        return f"<Studies of {', '.join(self.models)}: {n_facts:,} facts, {n_queries:,} queries in common>"

    def __iter__(self) -> Iterator[Study]:
        return iter(self.studies.values())

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, model: str) -> Study:
        return self.studies[model]

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order given."""
        return tuple(self.studies)

    @property
    def methods(self) -> tuple[str, ...]:
        """The attribution methods that every store has, in the first one's order."""
        return tuple(m for m in next(iter(self)).methods if all(m in study.methods for study in self))

    @cached_property
    def rows(self) -> tuple[Ints, ...]:
        """Rows of the common queries in each study: int64, shape (query,), in the first study's order."""
        keys = [_keys(study) for study in self]
        places = [{key: row for row, key in enumerate(of_study)} for of_study in keys]
        common = [key for key in keys[0] if all(key in place for place in places[1:])]
        return tuple(np.array([place[key] for key in common], dtype=np.int64) for place in places)

    @cached_property
    def fact_rows(self) -> tuple[Ints, ...]:
        """Rows of the common facts in each study: int64, shape (fact,)."""
        first = np.unique(self.fact_of_query, return_index=True)[1]
        return tuple(
            study.column("queries", "fact").astype(np.int64)[rows][first]
            for study, rows in zip(self, self.rows, strict=True)
        )

    @cached_property
    def fact_of_query(self) -> Ints:
        """The common fact that each common query asks for: int64, shape (query,)."""
        fact = next(iter(self)).column("queries", "fact").astype(np.int64)[self.rows[0]]
        return np.unique(fact, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def queries(self) -> xr.Dataset:
        """The common queries.

        Returns
        -------
        xarray.Dataset
            ``log_probability`` (float32), ``rank`` (int32), ``known`` (bool), along (model, query).
            Coordinates ``model``; ``fact`` (row of :attr:`facts`), ``relation, template, prompt, answer``.
        """
        first = next(iter(self))
        known = self._stacked("known") == 1
        names = ("relation", "template", "prompt", "answer")
        coords: dict[str, Any] = {n: (QUERY, first.column("queries", n)[self.rows[0]]) for n in names}
        queries = xr.Dataset(
            {
                "log_probability": ((MODEL, QUERY), self._stacked("log_probability")),
                "rank": ((MODEL, QUERY), self._stacked("rank")),
                "known": ((MODEL, QUERY), known),
            },
            coords={**coords, FACT: (QUERY, self.fact_of_query), MODEL: list(self.models)},
        )
        return selectable(queries, QUERY, {name: coords[name][1] for name in QUERY_LABELS})

    @cached_property
    def facts(self) -> xr.Dataset:
        """The common facts.

        Returns
        -------
        xarray.Dataset
            ``n_queries`` (common ones, along fact), ``n_known`` (model, fact), ``n_known_by_all`` (fact).
            Coordinates ``model``; ``id, subject, relation, object, leaks`` of the first study.
        """
        n = len(self.fact_rows[0])
        first = next(iter(self))
        names = ("id", "subject", "relation", "object", "leaks")
        columns = {name: first.column("facts", name)[self.fact_rows[0]] for name in names}
        columns["leaks"] = columns["leaks"] > 0
        facts = xr.Dataset(
            {
                "n_queries": (FACT, np.bincount(self.fact_of_query, minlength=n)),
                "n_known": (
                    (MODEL, FACT),
                    np.stack([self._counted(known) for known in self.queries["known"].values]),
                ),
                "n_known_by_all": (FACT, self._counted(self.known_by_all)),
            },
            coords={"leaks": (FACT, columns.pop("leaks")), MODEL: list(self.models)},
        )
        return selectable(facts, FACT, columns)

    @property
    def known_by_all(self) -> NDArray[np.bool_]:
        """Whether every model knows a common query, or every query counts: bool, shape (query,)."""
        return np.asarray(self.queries["known"].values.all(axis=0)) | self.every_query

    def neurons(self, method: str = "ig", threshold: float | None = None) -> dict[str, NeuronSets]:
        """Select each model's knowledge neurons of the common queries.

        Parameters
        ----------
        method : str, default "ig"
            An attribution method that every store has.
        threshold : float, optional
            As for :meth:`qloc.analysis.inputs.study.Study.neurons`.

        Returns
        -------
        dict of str to NeuronSets
            Sets by model, all over the same queries; ``known`` means known by every model.

        Raises
        ------
        InputError
            A store does not have the method.
        FloorError
            The threshold is below a store's floor.
        """
        return {model: self.neurons_of(model, method, threshold) for model in self.models}

    def neurons_of(self, model: str, method: str = "ig", threshold: float | None = None) -> NeuronSets:
        """Select one model's knowledge neurons of the common queries, by a method that its store has.

        Parameters
        ----------
        model : str
            Name of the model.
        method : str, default "ig"
            An attribution method that the store has, or ``activation`` where it is dense.
        threshold : float, optional
            As for :meth:`qloc.analysis.inputs.study.Study.neurons`.

        Returns
        -------
        NeuronSets
            As :meth:`neurons` gives of this model.
        """
        return self._common(model, self.studies[model].neurons(method, threshold))

    def neurons_at(self, model: str, thresholds: Sequence[float], method: str = "ig") -> Iterator[NeuronSets]:
        """Select one model's knowledge neurons of the common queries at several thresholds.

        Parameters
        ----------
        model : str
            Name of the model.
        thresholds : sequence of float
            As for :meth:`qloc.analysis.inputs.study.Study.neurons_at`: the store is read once.
        method : str, default "ig"
            An attribution method that the store has.

        Yields
        ------
        NeuronSets
            What :meth:`neurons` gives of this model at each threshold, in order.
        """
        for sets in self.studies[model].neurons_at(thresholds, method):
            yield self._common(model, sets)

    def _common(self, model: str, sets: NeuronSets) -> NeuronSets:
        """The sets of the common queries alone, which are known where every model knows them."""
        place = self.models.index(model)
        rows, facts = self.rows[place], self.fact_rows[place]
        columns = {name: column[rows] for name, column in sets.queries.items()}
        columns |= {"fact": self.fact_of_query, "known": self.known_by_all}
        return replace(
            sets,
            member=sparse.csr_array(sets.member[rows]),
            queries=columns,
            facts={name: column[facts] for name, column in sets.facts.items()},
        )

    def consistency(
        self, method: str = "ig", threshold: float | None = None, *, known: bool = True
    ) -> xr.Dataset:
        """Return :func:`qloc.consistency` of each model over the common queries.

        Parameters
        ----------
        method : str, default "ig"
            An attribution method that every store has.
        threshold : float, optional
            As for :meth:`qloc.analysis.inputs.study.Study.neurons`.
        known : bool, default True
            Use only queries that every model knows (headline); else all common ones.

        Returns
        -------
        xarray.Dataset
            Scores of each fact, along (model, fact); ids are those of the first study.
        """
        sets = self.neurons(method, threshold)
        scores = [
            consistency(of_model, known=known).drop_attrs().drop_vars(FACT_LABELS)
            for of_model in sets.values()
        ]
        queries = "known by all models" if known else "all that every model was asked"
        attrs = {"attribution_method": method, "rule": next(iter(sets.values())).rule, "queries": queries}
        models = xr.DataArray(list(self.models), dims=MODEL, name=MODEL)
        labels = {name: self.facts[name].values for name in FACT_LABELS}
        return selectable(xr.concat(scores, models), FACT, labels).assign_attrs(attrs)

    def _stacked(self, name: str) -> NDArray[Any]:
        return np.stack([s.column("queries", name)[rows] for s, rows in zip(self, self.rows, strict=True)])

    def _counted(self, chosen: NDArray[np.bool_]) -> Ints:
        return np.bincount(self.fact_of_query[chosen], minlength=len(self.fact_rows[0])).astype(np.int64)


def _keys(study: Study) -> list[FactKey]:
    """Return the key of each query; the number at its end tells repetitions of a key apart."""
    fact = study.column("queries", "fact")
    of_fact = [study.column("facts", name)[fact] for name in _OF_FACT if name in study.facts]
    of_query = [study.column("queries", name) for name in _OF_QUERY]
    seen: dict[FactKey, int] = {}
    keys = []
    for key in zip(*(map(str, column) for column in (*of_fact, *of_query)), strict=True):
        seen[key] = seen.get(key, 0) + 1
        keys.append((*key, str(seen[key])))
    return keys


def named(studies: Sequence[Study], places: Sequence[str]) -> Studies:
    """Name studies by their models, or by their stores where the models' names are not distinct.

    Parameters
    ----------
    studies : sequence of Study
        Two at least.
    places : sequence of str
        Name of each store, such as ``step1000``; a number is added where these are not distinct either.

    Returns
    -------
    Studies
        The studies under distinct names, in the same order.
    """
    names = [model_name(study) for study in studies]
    if len(set(names)) < len(names):
        names = list(places)
    if len(set(names)) < len(names):
        names = [f"{name} ({place})" for place, name in enumerate(names, start=1)]
    return Studies(dict(zip(names, studies, strict=True)))


def model_name(study: Study) -> str:
    """Return the name of a study's model, with its revision.

    Parameters
    ----------
    study : Study
        Its attributes ``model`` and ``revision`` are read.

    Returns
    -------
    str
        Such as ``EleutherAI/pythia-70m@step1000``; without a revision, the name alone.
    """
    name, revision = str(study.attrs.get("model", "model")), str(study.attrs.get("revision") or "")
    return f"{name}@{revision}" if revision else name
