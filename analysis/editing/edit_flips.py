"""Decisions that edits turn round at the edited query (docs/methods.md#suppression-on-words)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.inputs.query_rows import rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.categorical_flips import PREFERRED, Decision
from qloc.arrays import Array, Floats, Ints


@dataclass(frozen=True)
class EditFlips:
    """The decision of each fact's edited query, with nothing edited and after each edit.

    Attributes
    ----------
    edited : EditOutcomes
        The edits.
    decision : {"first", "preferred"}
        That the answer ranks first; that the good form is likelier than the bad one.
    at : bool ndarray, shape (fact, query_of_fact)
        The edited query, where its decision is right with nothing edited.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    """

    edited: EditOutcomes
    decision: Decision
    at: Array
    clusters: tuple[Ints, Ints]

    @classmethod
    def of(cls, study: Study, decision: Decision) -> EditFlips | None:
        """Read the decisions of a store's edits.

        Parameters
        ----------
        study : Study
            The store that was opened.
        decision : {"first", "preferred"}
            What is decided.

        Returns
        -------
        EditFlips or None
            None where the store has no edits of this kind of facts, or no matched control.
        """
        if not study.datasets.get("edits"):
            return None
        edited, group = EditOutcomes.of(study, known=False), study.edits
        if "matched" not in edited.sets or (decision == "preferred" and PREFERRED not in group):
            return None
        rows = rows_of(study, known=False, kind="fact" if decision == "first" else "minimal_pair")
        first = study.column("facts", "first_query").astype(np.int64)
        query = first[:, None] + np.arange(group.sizes["query_of_fact"])
        at = (query == group["edited_query"].values[:, None]) & (first >= 0)[:, None]
        at &= rows.used[np.where(at, query, 0)]
        if decision == "first":
            at &= group["base_rank"].values == 1
        else:
            at &= group["base_log_probability"].values > group[f"base_{PREFERRED}"].values
        return cls(edited, decision, at, rows.clusters) if at.any() else None

    def edits(self) -> list[tuple[str, str]]:
        """Return operation and set of every edit but those of the control.

        Returns
        -------
        list of tuple of (str, str)
            As the store has them.
        """
        sets = [name for name in self.edited.sets if name != "matched"]
        return [(operation, name) for operation in self.edited.operations for name in sets]

    def shares(self, operation: str, name: str) -> Floats:
        """Return whether an edit turns the decision round.

        Parameters
        ----------
        operation, name : str
            Labels of the edit and of what is edited.

        Returns
        -------
        float64 ndarray, shape (fact,)
            0 or 1; NaN where the decision was not right before, or the edit was not made.
        """
        after = self.edited.picked("log_probability", operation, name)
        if self.decision == "first":
            wrong = self.edited.picked("rank", operation, name) > 1
        else:
            wrong = after < self.edited.picked(PREFERRED, operation, name)
        there = self.at & ~np.isnan(after)
        return np.where(there.any(axis=1), (wrong & there).any(axis=1).astype(np.float64), np.nan)
