"""What edits do, fact by fact: reliability, generalization, locality, damage (methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inputs.query_rows import QueryRows, rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import needed, read
from qloc.arrays import Floats
from qloc.phase_plan import UPDATED_ONLY
from qloc.vocabulary import EDIT_OPERATION, EDIT_SET, FACT

On = Literal["edited", "held_out", "used"]
ON: Final[tuple[On, ...]] = ("edited", "held_out", "used")
"""The edited query; queries whose templates did not choose the sets; other queries whose templates did."""

CRITERIA: Final = ("argmax", "probability")
SCORES: Final = {"reliability": "edited", "generalization": "held_out", "generalization_used": "used"}
_DIMS: Final = (EDIT_OPERATION, EDIT_SET, FACT)


@dataclass(frozen=True)
class EditOutcomes:
    """The outcomes of a study's edits.

    Attributes
    ----------
    found : group /edits.
    on : which queries of a fact count as what: bool, (fact, query_of_fact).
    """

    found: xr.Dataset
    rows: QueryRows
    on: dict[On, NDArray[np.bool_]]
    probes_left: NDArray[np.bool_]

    @classmethod
    def of(cls, study: Study, known: bool = True) -> EditOutcomes:
        """Of facts that do not leak.

        Parameters
        ----------
        known : over known queries only; an edit of a query that is not known is then left out.

        Raises
        ------
        InputError : the store has no phase ``edits``.
        """
        needed(study, "edits")
        found, rows = study.edits, rows_of(study, known)
        told = found["edited_query"].values.astype(np.int64)
        held = found["held_out"].values
        first = study.column("facts", "first_query").astype(np.int64)
        query = first[:, None] + np.arange(held.shape[1])
        there = held >= 0
        used = there & rows.used[np.where(there, query, 0)]
        edited = used & (query == told[:, None])
        if known:
            used &= edited.any(axis=1)[:, None]
        on: dict[On, NDArray[np.bool_]] = {
            "edited": edited,
            "held_out": used & (held == 1),
            "used": used & (held == 0) & ~edited,
        }
        return cls(found, rows, on, edited.any(axis=1))

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """Labels of the edits."""
        return tuple(str(name) for name in self.found[EDIT_OPERATION].values)

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """Labels of what is edited."""
        return tuple(str(name) for name in self.found[EDIT_SET].values)

    def has(self, operation: str, *sets: str) -> bool:
        """Whether all these edits were made; some are updates and nothing else."""
        made = operation == "update" or not set(sets) & set(UPDATED_ONLY)
        return made and operation in self.operations and set(sets) <= set(self.sets)

    def moved(self, operation: str, name: str, on: On) -> Floats:
        """Log-odds lost by o under an erasure, gained by o′ under an update; mean over a fact's queries.

        float64, (fact,); NaN where the set is empty or there is no such query.
        """
        return self.mean(self._moved(operation, name), on)

    def damage(self, operation: str, name: str) -> Floats:
        """Nats a token on held-out text, after less before: float64, (fact,)."""
        return np.where(self.probes_left, self.picked("text_nats", operation, name), np.nan)

    def mean(self, values: Floats, on: On) -> Floats:
        """Mean of (fact, query_of_fact) values over the queries of one kind, where they are defined."""
        keep = self.on[on] & ~np.isnan(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(keep, values, 0.0).sum(axis=1) / keep.sum(axis=1))

    def success(self, operation: str, name: str, criterion: str) -> Floats:
        """Whether, or how far, an edit does at each query what it should: (fact, query_of_fact), 0 to 1.

        ========  =======================================  ==========================================
        edit      ``argmax``                               ``probability``
        ========  =======================================  ==========================================
        update    o′ ranks first                           P(o′) > P(o)
        erase     o no longer ranks first                  share of P(o) that is gone, 0 at least
        ========  =======================================  ==========================================

        NaN where the set is empty; for an erasure also where o was not answered.
        """
        if operation != "erase":
            rank, new = (self.picked(name_, operation, name) for name_ in ("new_rank", "new_log_probability"))
            old = self.picked("log_probability", operation, name)
            gone = np.isnan(new)
            found = rank == 1 if criterion == "argmax" else new > old
            return np.where(gone, np.nan, found.astype(np.float64))
        after, rank = (self.picked(name_, operation, name) for name_ in ("log_probability", "rank"))
        answered = self._base("rank") == 1
        lost = np.clip(-np.expm1(after - self._base("log_probability")), 0.0, 1.0)
        done = lost if criterion == "probability" else (rank > 1).astype(np.float64)
        return np.where(np.isnan(after) | ~answered, np.nan, done)

    def unchanged(self, operation: str, name: str) -> Floats:
        """Locality: share of a fact's probes whose most likely token stays: float64, (fact,)."""
        after = self.picked("probe_argmax", operation, name)
        before = read(self.found, "base_probe_argmax")
        there = (before >= 0) & ~np.isnan(self.picked("probe_kl", operation, name))
        return self._over_probes((after == before).astype(np.float64), there)

    def probe_kl(self, operation: str, name: str) -> Floats:
        """KL(before ‖ after) of the next token at the probes, nats, mean: float64, (fact,)."""
        kl = self.picked("probe_kl", operation, name)
        return self._over_probes(kl, ~np.isnan(kl))

    def empty(self, name: str) -> int:
        """Facts that are edited otherwise, but have no slot in this set: ROME's, where no subject is read."""
        n = read(self.found, "n_slots")[self.sets.index(name)]
        return 0 if name == "in_context" else int(np.sum(self.probes_left & (n <= 0)))

    def picked(self, variable: str, operation: str, name: str) -> Floats:
        """One variable of one edit, float64, (fact, …)."""
        at = self.operations.index(operation), self.sets.index(name)
        return np.asarray(read(self.found, variable)[at], dtype=np.float64)

    def _moved(self, operation: str, name: str) -> Floats:
        which = "log_probability" if operation == "erase" else "new_log_probability"
        change = log_odds(self.picked(which, operation, name)) - log_odds(self._base(which))
        return -change if operation == "erase" else change

    def _over_probes(self, values: Floats, there: NDArray[np.bool_]) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(there, values, 0.0).sum(axis=1) / there.sum(axis=1)
        return np.where(self.probes_left, mean, np.nan)

    def _base(self, name: str) -> Floats:
        if name not in self._bases:
            self._bases[name] = read(self.found, f"base_{name}").astype(np.float64)
        return self._bases[name]

    @cached_property
    def _bases(self) -> dict[str, Floats]:
        return {}


def edit_effects(study: Study, *, on: On = "held_out", known: bool = True) -> xr.DataArray:
    """Log-odds moved as the edit should: lost by o under an erasure, gained by o′ under an update.

    Parameters
    ----------
    on : mean over the edited query, held-out paraphrases, or used ones.
    known : over known queries only.

    Returns
    -------
    DataArray : float64, (edit_operation, edit_set, fact)

    Raises
    ------
    InputError : the store has no phase ``edits``.
    """
    edited = EditOutcomes.of(study, known)
    values = [[edited.moved(op, name, on) for name in edited.sets] for op in edited.operations]
    return xr.DataArray(np.array(values), dims=_DIMS, coords=_labels(edited))


def edit_scores(study: Study, *, known: bool = True) -> xr.Dataset:
    """How well every edit of every fact did.

    Returns
    -------
    Dataset : ``reliability`` (the edited query), ``generalization`` (held-out paraphrases),
        ``generalization_used`` (used ones): float64, (criterion, edit_operation, edit_set, fact), 0 to 1
        (:meth:`EditOutcomes.success`). ``locality`` (share of probes whose most likely token stays),
        ``probe_kl``,
        ``nats`` (Δ a token on held-out text), ``perplexity`` (Δ of it): (edit_operation, edit_set, fact).
        NaN where the set is empty, and for what does not count.

    Raises
    ------
    InputError : the store has no phase ``edits``.
    """
    edited = EditOutcomes.of(study, known)
    arms = [[(operation, name) for name in edited.sets] for operation in edited.operations]
    found: dict[str, tuple[tuple[str, ...], Floats]] = {}
    for score, on in SCORES.items():
        values = [
            [[edited.mean(edited.success(*arm, criterion), on) for arm in row] for row in arms]  # type: ignore[arg-type]
            for criterion in CRITERIA
        ]
        found[score] = (("criterion", *_DIMS), np.array(values))
    found["locality"] = (_DIMS, np.array([[edited.unchanged(*arm) for arm in row] for row in arms]))
    found["probe_kl"] = (_DIMS, np.array([[edited.probe_kl(*arm) for arm in row] for row in arms]))
    nats = np.array([[edited.damage(*arm) for arm in row] for row in arms])
    found["nats"] = (_DIMS, nats)
    base = np.exp(edited.found["base_text_nats"].values.astype(np.float64))
    found["perplexity"] = (_DIMS, base * np.expm1(nats))
    return xr.Dataset(found, coords={"criterion": list(CRITERIA), **_labels(edited)})


def _labels(edited: EditOutcomes) -> dict[str, list[str]]:
    return {EDIT_OPERATION: list(edited.operations), EDIT_SET: list(edited.sets)}


def harmonic(values: list[float]) -> float:
    """Harmonic mean of shares; 0 where one is 0, NaN where one is.

    Examples
    --------
    >>> harmonic([1.0, 1.0, 0.0]), round(harmonic([0.5, 1.0, 1.0]), 2)
    (0.0, 0.75)
    """
    if any(np.isnan(values)):
        return float("nan")
    return 0.0 if min(values) <= 0 else float(len(values) / np.sum(1 / np.array(values)))
