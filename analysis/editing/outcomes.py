"""What edits do, fact by fact: reliability, generalization, locality, damage (docs/methods.md#edits)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.editing.cas_certainty import uncertified_cas
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inputs.query_rows import QueryRows, rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import require_group, values_of
from qloc.arrays import Floats
from qloc.phase_plan import UPDATED_ONLY
from qloc.vocabulary import EDIT_OPERATION, EDIT_SET, FACT, PAIR

On = Literal["edited", "held_out", "used"]
"""The edited query; queries whose templates did not choose the sets; other queries whose templates did."""

CRITERIA: Final = ("argmax", "probability")
"""How success is told: by what ranks first, or by probabilities (:meth:`EditOutcomes.success`)."""

QUERIES_OF_SCORE: Final[Mapping[str, On]] = {
    "reliability": "edited",
    "generalization": "held_out",
    "generalization_used": "used",
}
"""Score → the queries that it is a mean over."""

_DIMS: Final = (EDIT_OPERATION, EDIT_SET, FACT)


@dataclass(frozen=True)
class EditOutcomes:
    """The outcomes of a study's edits.

    Attributes
    ----------
    found : xarray.Dataset
        Group /edits.
    rows : QueryRows
        The queries that count, and the relation and answer of each fact.
    on : dict of str to bool ndarray, shape (fact, query_of_fact)
        Which queries of a fact whose edit counts are the edited one, held out, and used.
    probes_left : bool ndarray, shape (fact,)
        Whether the fact's edit counts, and with it its probes and its damage.
    study : Study, optional
        The study, to tell which sets are certain.
    """

    found: xr.Dataset
    rows: QueryRows
    on: dict[On, NDArray[np.bool_]]
    probes_left: NDArray[np.bool_]
    study: Study | None = None

    @classmethod
    def of(cls, study: Study, known: bool = True, kind: str | None = None) -> EditOutcomes:
        """Return the outcomes of facts that do not leak, or of minimal pairs.

        Parameters
        ----------
        study : Study
            With phase ``edits``.
        known : bool, default True
            Whether to count known queries only; an edit of a query that is not known is then left out.
        kind : {"fact", "minimal_pair"}, optional
            Whose edits; those of facts where it is not given and the study has any.

        Returns
        -------
        EditOutcomes
            Read when first used.

        Raises
        ------
        InputError
            The store has no phase ``edits``.
        """
        require_group(study, "edits")
        group, rows = study.edits, rows_of(study, known, kind)
        edited_query = group["edited_query"].values.astype(np.int64)
        held = group["held_out"].values
        first = study.column("facts", "first_query").astype(np.int64)
        query = first[:, None] + np.arange(held.shape[1])
        there = held >= 0
        used = there & rows.used[np.where(there, query, 0)]
        edited = used & (query == edited_query[:, None])
        used &= edited.any(axis=1)[:, None]
        on: dict[On, NDArray[np.bool_]] = {
            "edited": edited,
            "held_out": used & (held == 1),
            "used": used & (held == 0) & ~edited,
        }
        return cls(group, rows, on, edited.any(axis=1), study)

    @cached_property
    def uncertified(self) -> Mapping[str, NDArray[np.bool_]]:
        """Facts whose sets by CAS may lack neurons that the store does not keep, by set."""
        return {} if self.study is None else uncertified_cas(self.study)

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """Labels of the edits."""
        return tuple(str(name) for name in self.found[EDIT_OPERATION].values)

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """Labels of what is edited."""
        return tuple(str(name) for name in self.found[EDIT_SET].values)

    def has(self, operation: str, *sets: str) -> bool:
        """Return whether all these edits were made.

        Parameters
        ----------
        operation : str
            Label of the edit.
        *sets : str
            Labels of what is edited; ROME's and the in-context one are updates and nothing else.

        Returns
        -------
        bool
            False where the operation or one of the sets is missing.
        """
        made = operation == "update" or not set(sets) & set(UPDATED_ONLY)
        return made and operation in self.operations and set(sets) <= set(self.sets)

    def moved(self, operation: str, name: str, on: On) -> Floats:
        """Return the log-odds that o loses under an erasure, or that o′ gains under an update.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.
        on : {"edited", "held_out", "used"}
            The queries of a fact that it is a mean over.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where the set is empty or there is no such query.
        """
        return self.mean(self._moved(operation, name), on)

    def n_compared(self, operation: str, names: tuple[str, str], on: On) -> int:
        """Return how many queries are behind the differences of two edits: of facts that have both.

        Parameters
        ----------
        operation : str
            Label of the edit.
        names : tuple of (str, str)
            Labels of what is edited.
        on : {"edited", "held_out", "used"}
            The queries of a fact.

        Returns
        -------
        int
            Number of queries at which what both edits move is defined.
        """
        moved = [self._moved(operation, name) for name in names]
        return int(np.sum(self.on[on] & ~np.isnan(moved[0] - moved[1])))

    def damage(self, operation: str, name: str) -> Floats:
        """Return the damage: nats a token on held-out text, after less before.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where the edit does not count.
        """
        return np.where(self.probes_left, self.picked("text_nats", operation, name), np.nan)

    def damage_by_halves(self, operation: str, name: str) -> tuple[Floats, Floats]:
        """Return the damage on the first and on the second half of the held-out text.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.

        Returns
        -------
        tuple of float64 ndarray, shape (fact,) each
            NaN where the edit does not count, and in stores that do not keep halves.
        """
        if "text_nats_first" not in self.found:
            nothing = np.full(len(self.probes_left), np.nan)
            return nothing, nothing
        halves = [self.picked(f"text_nats_{half}", operation, name) for half in ("first", "second")]
        first, second = (np.where(self.probes_left, values, np.nan) for values in halves)
        return first, second

    def mean(self, values: Floats, on: On) -> Floats:
        """Return the mean over a fact's queries of one kind, where they are defined.

        Parameters
        ----------
        values : float64 ndarray, shape (fact, query_of_fact)
            NaN where there is none.
        on : {"edited", "held_out", "used"}
            The kind of queries.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where a fact has no such value.
        """
        keep = self.on[on] & ~np.isnan(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(keep, values, 0.0).sum(axis=1) / keep.sum(axis=1))

    def success(self, operation: str, name: str, criterion: str) -> Floats:
        """Return whether, or how far, an edit does at each query what it should.

        ========  =======================================  ==========================================
        edit      ``argmax``                               ``probability``
        ========  =======================================  ==========================================
        update    o′ ranks first                           P(o′) > P(o)
        erase     o no longer ranks first                  share of P(o) that is gone, 0 at least
        ========  =======================================  ==========================================

        Of a minimal pair, o is the good form of each sentence and o′ its bad form, and what ranks first is
        the likelier of the two: an update does what it should where the bad form is.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.
        criterion : {"argmax", "probability"}
            A column of the table.

        Returns
        -------
        float64 ndarray, shape (fact, query_of_fact)
            0 to 1; NaN where the set is empty, and for an erasure also where o was not answered.
        """
        pairs = self.rows.kind == PAIR
        if operation != "erase":
            rank, new = (self.picked(name_, operation, name) for name_ in ("new_rank", "new_log_probability"))
            old = self.picked("log_probability", operation, name)
            gone = np.isnan(new)
            done = rank == 1 if criterion == "argmax" and not pairs else new > old
            return np.where(gone, np.nan, done.astype(np.float64))
        after, rank = (self.picked(name_, operation, name) for name_ in ("log_probability", "rank"))
        answered, lost_first = self._base("rank") == 1, rank > 1
        if pairs:
            answered = self._base("log_probability") > self._base("new_log_probability")
            lost_first = after < self.picked("new_log_probability", operation, name)
        lost = np.clip(-np.expm1(after - self._base("log_probability")), 0.0, 1.0)
        share = lost if criterion == "probability" else lost_first.astype(np.float64)
        return np.where(np.isnan(after) | ~answered, np.nan, share)

    def unchanged(self, operation: str, name: str, probes: str | None = None) -> Floats:
        """Return the locality: share of a fact's probes whose most likely token stays.

        Probes are those of the kind that is edited: locality is of facts or of syntax.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.
        probes : {"fact", "minimal_pair"}, optional
            Kind of the probes, where it is another one.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where the edit does not count, or has no probe.
        """
        after = self.picked("probe_argmax", operation, name)
        before = values_of(self.found, "base_probe_argmax")
        there = (before >= 0) & ~np.isnan(self.picked("probe_kl", operation, name))
        return self._over_probes((after == before).astype(np.float64), there, probes)

    def probe_kl(self, operation: str, name: str) -> Floats:
        """Return the mean KL(before ‖ after) of the next token at the probes, in nats.

        They are those of :meth:`unchanged`.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where the edit does not count, or has no probe.
        """
        kl = self.picked("probe_kl", operation, name)
        return self._over_probes(kl, ~np.isnan(kl))

    def empty(self, name: str) -> int:
        """Return how many facts whose edits count have no slot in one set.

        Parameters
        ----------
        name : str
            Label of what is edited. ROME has none where the prompt's subject is not found.

        Returns
        -------
        int
            0 for the in-context edit, which has no slots.
        """
        n = values_of(self.found, "n_slots")[self.sets.index(name)]
        return 0 if name == "in_context" else int(np.sum(self.probes_left & (n <= 0)))

    def picked(self, variable: str, operation: str, name: str) -> Floats:
        """Return one stored variable of one edit.

        Parameters
        ----------
        variable : str
            Such as ``new_rank``.
        operation, name : str
            Labels of the edit and of what is edited.

        Returns
        -------
        float64 ndarray, shape (fact, …)
            The variable's further dimensions follow.
        """
        at = self.operations.index(operation), self.sets.index(name)
        return np.asarray(values_of(self.found, variable)[at], dtype=np.float64)

    def _moved(self, operation: str, name: str) -> Floats:
        which = "log_probability" if operation == "erase" else "new_log_probability"
        change = log_odds(self.picked(which, operation, name)) - log_odds(self._base(which))
        return -change if operation == "erase" else change

    def _over_probes(self, values: Floats, there: NDArray[np.bool_], kind: str | None = None) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            there = there & self._probes_of(kind or self.rows.kind)
            mean = np.where(there, values, 0.0).sum(axis=1) / there.sum(axis=1)
        return np.where(self.probes_left, mean, np.nan)

    def _probes_of(self, kind: str) -> NDArray[np.bool_]:
        """Which probes are queries of one kind: bool, (fact, probe)."""
        query = values_of(self.found, "probe_query").astype(np.int64)
        if self.study is None:
            return query >= 0
        of_kind = self.study.column("queries", "kind") == kind
        return np.asarray((query >= 0) & of_kind[np.maximum(query, 0)])

    def _base(self, name: str) -> Floats:
        if name not in self._bases:
            self._bases[name] = values_of(self.found, f"base_{name}").astype(np.float64)
        return self._bases[name]

    @cached_property
    def _bases(self) -> dict[str, Floats]:
        return {}


def edit_effects(study: Study, *, on: On = "held_out", known: bool = True) -> xr.DataArray:
    """Return the log-odds that edits move as they should: lost by o when erased, gained by o′ when updated.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    on : {"held_out", "edited", "used"}
        The queries of a fact that it is a mean over: held-out paraphrases, the edited query, or used ones.
    known : bool, default True
        Whether to count known queries only.

    Returns
    -------
    xarray.DataArray
        float64, (edit_operation, edit_set, fact).

    Raises
    ------
    InputError
        The store has no phase ``edits``.
    """
    edited = EditOutcomes.of(study, known)
    values = [[edited.moved(op, name, on) for name in edited.sets] for op in edited.operations]
    return xr.DataArray(np.array(values), dims=_DIMS, coords=_labels(edited))


def edit_scores(study: Study, *, known: bool = True) -> xr.Dataset:
    """Return how well every edit of every fact did.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    known : bool, default True
        Whether to count known queries only.

    Returns
    -------
    xarray.Dataset
        ``reliability`` (the edited query), ``generalization`` (held-out paraphrases) and
        ``generalization_used`` (used ones): float64, (criterion, edit_operation, edit_set, fact), 0 to 1
        (:meth:`EditOutcomes.success`). ``locality`` (share of probes whose most likely token stays),
        ``probe_kl``, ``nats`` (Δ a token on held-out text), ``perplexity`` (Δ of it) and
        ``relative_perplexity`` (that as a share of what it was, exp(Δ nats) − 1): float64,
        (edit_operation, edit_set, fact). NaN where the set is empty, and for edits that do not count.

    Raises
    ------
    InputError
        The store has no phase ``edits``.
    """
    edited = EditOutcomes.of(study, known)
    arms = [[(operation, name) for name in edited.sets] for operation in edited.operations]
    scores: dict[str, tuple[tuple[str, ...], Floats]] = {}
    for score, on in QUERIES_OF_SCORE.items():
        values = [
            [[edited.mean(edited.success(*arm, criterion), on) for arm in row] for row in arms]
            for criterion in CRITERIA
        ]
        scores[score] = (("criterion", *_DIMS), np.array(values))
    scores["locality"] = (_DIMS, np.array([[edited.unchanged(*arm) for arm in row] for row in arms]))
    scores["probe_kl"] = (_DIMS, np.array([[edited.probe_kl(*arm) for arm in row] for row in arms]))
    nats = np.array([[edited.damage(*arm) for arm in row] for row in arms])
    scores["nats"] = (_DIMS, nats)
    base = np.exp(edited.found["base_text_nats"].values.astype(np.float64))
    scores["relative_perplexity"] = (_DIMS, np.expm1(nats))
    scores["perplexity"] = (_DIMS, base * np.expm1(nats))
    return xr.Dataset(scores, coords={"criterion": list(CRITERIA), **_labels(edited)})


def _labels(edited: EditOutcomes) -> dict[str, list[str]]:
    return {EDIT_OPERATION: list(edited.operations), EDIT_SET: list(edited.sets)}


def harmonic(values: list[float]) -> float:
    """Return the harmonic mean of shares.

    Parameters
    ----------
    values : list of float
        Each within [0, 1], or NaN.

    Returns
    -------
    float
        0 where one of them is 0; NaN where one is NaN.

    Examples
    --------
    >>> harmonic([1.0, 1.0, 0.0]), round(harmonic([0.5, 1.0, 1.0]), 2)
    (0.0, 0.75)
    """
    if any(np.isnan(values)):
        return float("nan")
    return 0.0 if min(values) <= 0 else float(len(values) / np.sum(1 / np.array(values)))
