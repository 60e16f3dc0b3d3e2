"""What edits entail, fact by fact: symmetry, synonymy, neighborhood (docs/methods.md#what-edits-entail)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import values_of
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.phase_plan import NEIGHBORHOOD, NEW_INVERSE, OLD_INVERSE, SYNONYM, SYNONYM_OF_STEM

Entailed = Literal["gained", "lost", "symmetry", "synonymy", "synonymy_of_stem", "neighborhood"]
"""Scores of what an edit entails, or should leave alone."""

ENTAILED_SCORES: Final[tuple[Entailed, ...]] = (
    *("gained", "lost", "symmetry", "synonymy", "synonymy_of_stem", "neighborhood"),
)

_KINDS: Final[Mapping[Entailed, str]] = {
    "gained": NEW_INVERSE,
    "lost": OLD_INVERSE,
    "symmetry": NEW_INVERSE,
    "synonymy": SYNONYM,
    "synonymy_of_stem": SYNONYM_OF_STEM,
    "neighborhood": NEIGHBORHOOD,
}

Moved = Literal["inverse", "synonym"]
"""What the log-odds are those of: s at the new inverse, or the synonym of o′ that shares no stem with it."""

_MOVED: Final[Mapping[Moved, str]] = {"inverse": NEW_INVERSE, "synonym": SYNONYM}


@dataclass(frozen=True)
class EntailmentOutcomes:
    """The outcomes of a study's edits on what they entail.

    Attributes
    ----------
    edited : EditOutcomes
        The edits themselves, and which facts count.
    found : xarray.Dataset
        Group /entailments.
    """

    edited: EditOutcomes
    found: xr.Dataset

    @classmethod
    def of(cls, study: Study, known: bool = True) -> EntailmentOutcomes:
        """Return the outcomes of facts that do not leak.

        Parameters
        ----------
        study : Study
            With group ``entailments``.
        known : bool, default True
            Whether to leave out edits of queries that are not known.

        Returns
        -------
        EntailmentOutcomes
            Read when first used.

        Raises
        ------
        InputError
            The store has no group ``entailments``.
        """
        if not study.datasets.get("entailments"):
            rule = "a store with group /entailments"
            action = "Extract edits of facts with inverse or synonyms"
            raise InputError(message("store", ", ".join(study.datasets), rule, "entailments", action))
        return cls(EditOutcomes.of(study, known), study.entailments)

    def score(
        self, score: Entailed, operation: str, name: str, criterion: str, *, conditional: bool = True
    ) -> Floats:
        """Return the mean over a fact's prompts of whether, or how far, an edit does what it should.

        ================  ============================  ==============================================
        score             ``argmax``                    ``probability``
        ================  ============================  ==============================================
        gained            s ranks first, asked for o′   P(s), asked for o′, > P(s), asked for o
        lost              s no longer does, asked for   share of P(s) that is gone, asked for o
                          o
        symmetry          both                          the smaller of both
        synonymy          the synonym of o′ ranks       that of o′ is likelier than that of o; erase:
                          first; erase: that of o no    share of that of o that is gone
                          longer does
        neighborhood      the answer ranks first        the answer is likelier than o′
        ================  ============================  ==============================================

        Parameters
        ----------
        score : str
            Of :data:`ENTAILED_SCORES`.
        operation, name : str
            Labels of the edit and of what is edited.
        criterion : {"argmax", "probability"}
            A column of the table.
        conditional : bool, default True
            Whether to count only prompts that the unedited model answers right: the old inverse, the synonym
            of o, the neighborhood. What is lost must have been there, and is always counted so.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN where the edit was not made, does not count, or has no such prompt.
        """
        values = self._values(score, operation, name, criterion)
        keep = self._of_kind(_KINDS[score]) & ~np.isnan(values)
        if conditional:
            keep &= self._known(score)
        return self._mean(values, keep)

    def moved(self, entailment: Moved, operation: str, name: str, *, conditional: bool = True) -> Floats:
        """Return the log-odds that an entailed answer gains under an update.

        Parameters
        ----------
        entailment : {"inverse", "synonym"}
            s at the new inverse, or the synonym of o′, of pairs that share no stem.
        operation, name : str
            Labels of the edit and of what is edited.
        conditional : bool, default True
            Whether to count only prompts that the unedited model answers right, as for :meth:`score`.

        Returns
        -------
        float64 ndarray, shape (fact,)
            Mean over the fact's prompts; NaN where there is none.
        """
        after, before = (
            self._picked("new_log_probability", operation, name),
            self._base("new_log_probability"),
        )
        change = log_odds(after) - log_odds(before)
        keep = self._of_kind(_MOVED[entailment]) & ~np.isnan(change)
        if conditional:
            keep &= self._known("gained" if entailment == "inverse" else "synonymy")
        return self._mean(change, keep)

    @cached_property
    def kind(self) -> NDArray[Any]:
        """Kind of each prompt: str, (fact, entailed); empty where there is none."""
        return np.asarray(values_of(self.found, "kind")).astype(str)

    def n_facts(self, *kinds: str) -> int:
        """Return how many facts whose edits count have a prompt of one of these kinds.

        Parameters
        ----------
        *kinds : str
            Kinds of prompts.

        Returns
        -------
        int
            Number of facts.
        """
        return int(np.sum(np.isin(self.kind, kinds).any(axis=1) & self.edited.probes_left))

    def _of_kind(self, kind: str) -> NDArray[np.bool_]:
        return np.asarray((self.kind == kind) & self.edited.probes_left[:, None])

    def _known(self, score: Entailed) -> NDArray[np.bool_]:
        """Tell which prompts the unedited model answers right; of a new inverse, the old one."""
        first: NDArray[np.bool_] = self._base("rank") == 1
        return _next(first, fill=False) if score in ("gained", "symmetry") else first

    def _values(self, score: Entailed, operation: str, name: str, criterion: str) -> Floats:
        if score == "symmetry":
            gained, lost = (self._values(side, operation, name, criterion) for side in ("gained", "lost"))
            return np.asarray(np.minimum(gained, _next(lost, fill=np.nan)))  # NaN where one of both is
        if score == "neighborhood":
            return self._left_alone(operation, name, criterion)
        if score == "lost" or operation == "erase":
            return self._gone(operation, name, criterion) if score != "gained" else self._nothing
        new, rank = (self._picked(column, operation, name) for column in ("new_log_probability", "new_rank"))
        old = self._picked("log_probability", operation, name)
        other = _next(old, fill=np.nan) if score == "gained" else old
        done = rank == 1 if criterion == "argmax" else new > other
        missing = np.isnan(new) if criterion == "argmax" else np.isnan(new) | np.isnan(other)
        return np.where(missing, np.nan, done.astype(np.float64))

    def _gone(self, operation: str, name: str, criterion: str) -> Floats:
        """What an edit does to the old answer where it was given before; NaN elsewhere."""
        after, rank = (self._picked(column, operation, name) for column in ("log_probability", "rank"))
        share = np.clip(-np.expm1(after - self._base("log_probability")), 0.0, 1.0)
        values = share if criterion == "probability" else (rank > 1).astype(np.float64)
        return np.where(np.isnan(after) | (self._base("rank") != 1), np.nan, values)

    def _left_alone(self, operation: str, name: str, criterion: str) -> Floats:
        old, rank = (self._picked(column, operation, name) for column in ("log_probability", "rank"))
        if criterion == "argmax":
            return np.where(np.isnan(old), np.nan, (rank == 1).astype(np.float64))
        new = self._picked("new_log_probability", operation, name)
        return np.where(np.isnan(old) | np.isnan(new), np.nan, (old > new).astype(np.float64))

    @property
    def _nothing(self) -> Floats:
        return np.full(self.kind.shape, np.nan)

    def _picked(self, variable: str, operation: str, name: str) -> Floats:
        at = self.edited.operations.index(operation), self.edited.sets.index(name)
        return np.asarray(values_of(self.found, variable)[at], dtype=np.float64)

    def _base(self, variable: str) -> Floats:
        return np.asarray(values_of(self.found, f"base_{variable}"), dtype=np.float64)

    def _mean(self, values: Floats, keep: NDArray[np.bool_]) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(keep, values, 0.0).sum(axis=1) / keep.sum(axis=1))


def _next(values: NDArray[Any], *, fill: Any) -> NDArray[Any]:
    """Put the value of the next prompt at each: an old inverse stands behind its new one."""
    moved = np.full_like(values, fill)
    moved[:, :-1] = values[:, 1:]
    return moved
