"""Decisions that edits turn round, at edited and at other queries (docs/methods.md#suppression-on-words)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qloc.analysis.editing.outcomes import EditOutcomes, On
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.categorical_flips import Decision
from qloc.arrays import Array, Floats, Ints
from qloc.vocabulary import PAIR

CONTROL: Final = "matched"

BAD: Final = "new_log_probability"
"""What stores hold of the bad form of each sentence of a pair that is edited: it is the pair's o′."""


@dataclass(frozen=True)
class EditFlips:
    """The decisions of edited facts' queries, with nothing edited and after each edit.

    Attributes
    ----------
    edited : EditOutcomes
        The edits, of facts or of minimal pairs.
    decision : {"first", "preferred"}
        That the answer ranks first; that the good form is likelier than the bad one.
    right : bool ndarray, shape (fact, query_of_fact)
        Whether the decision is right with nothing edited.
    """

    edited: EditOutcomes
    decision: Decision
    right: Array

    @classmethod
    def of(cls, study: Study, decision: Decision) -> EditFlips | None:
        """Read the decisions of a store's edits.

        Parameters
        ----------
        study : Study
            The store that was opened.
        decision : {"first", "preferred"}
            What is decided: of facts, and of minimal pairs.

        Returns
        -------
        EditFlips or None
            None where the store has no edits of this kind of facts, or no matched control.
        """
        if not study.datasets.get("edits"):
            return None
        edited = EditOutcomes.of(study, known=False, kind="fact" if decision == "first" else PAIR)
        if CONTROL not in edited.sets or not edited.probes_left.any():
            return None
        group = study.edits
        if decision == "first":
            right = group["base_rank"].values == 1
        else:
            right = group["base_log_probability"].values > group[f"base_{BAD}"].values
        return cls(edited, decision, right) if (right & edited.on["edited"]).any() else None

    @property
    def clusters(self) -> tuple[Ints, Ints]:
        """Relation and answer of each fact."""
        return self.edited.rows.clusters

    def edits(self) -> list[tuple[str, str]]:
        """Return operation and set of every edit but those of the control.

        Returns
        -------
        list of tuple of (str, str)
            As the store has them.
        """
        names = [name for name in self.edited.sets if name != CONTROL]
        return [(op, name) for op in self.edited.operations for name in names if self.edited.has(op, name)]

    def flipped(self, operation: str, name: str) -> Floats:
        """Return which decisions an edit turns round.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.

        Returns
        -------
        float64 ndarray, shape (fact, query_of_fact)
            0 or 1; NaN where the decision was not right before, or the edit was not made. Forms that are
            equally likely are no flip.
        """
        after = self.edited.picked("log_probability", operation, name)
        if self.decision == "first":
            wrong = self.edited.picked("rank", operation, name) > 1
        else:
            wrong = after < self.edited.picked(BAD, operation, name)
        return np.where(self.right & ~np.isnan(after), wrong.astype(np.float64), np.nan)

    def shares(self, operation: str, name: str, on: On = "edited") -> Floats:
        """Return the share of each fact's right decisions that an edit turns round.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.
        on : {"edited", "held_out", "used"}, default "edited"
            The queries of a fact: the edited one alone, or others.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN for facts without a right decision, or without the edit.
        """
        return self.edited.mean(self.flipped(operation, name), on)

    def beyond(self, operation: str, name: str, on: On = "edited") -> Floats:
        """Return how much larger the share is than that of matched neurons, over the same queries.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.
        on : {"edited", "held_out", "used"}, default "edited"
            The queries of a fact.

        Returns
        -------
        float64 ndarray, shape (fact,)
            −1 to 1; NaN for facts without a query that has both.
        """
        both = self.flipped(operation, name) - self.flipped(operation, CONTROL)
        return self.edited.mean(both, on)
