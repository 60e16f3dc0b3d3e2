"""Tokenize every query of a study once, and count the queries that this model cannot be asked, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qloc.arrays import Array
from qloc.extract.prompts.tokenizing import UNKNOWN_SUBJECT, Encoder, Target, TokenizedQuery, askable
from qloc.facts import Attribute, FactSet


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The queries of every fact that the model can be asked, in input order.

    Attributes
    ----------
    asked : tuple of tuple of TokenizedQuery
        One inner tuple for each fact; empty if no query of the fact can be asked.
    excluded : mapping of str to int
        Number of queries that were left out, by reason.
    """

    asked: tuple[tuple[TokenizedQuery, ...], ...]
    excluded: Mapping[str, int]

    @property
    def n_spaces_apart(self) -> int:
        """Queries in which the space before the answer is a token of the prompt, outside P(answer)."""
        return sum(query.space_apart for queries in self.asked for query in queries)

    @property
    def is_as_by_offsets(self) -> bool:
        """Whether offsets alone, which earlier versions went by, ask the same queries in the same way."""
        recut = any(query.recut for queries in self.asked for query in queries)
        return not recut and UNKNOWN_SUBJECT not in self.excluded

    def some_targets(self) -> list[Target]:
        """Return the targets of the first facts, to prove an engine on.

        Returns
        -------
        list of Target
            All targets of the first facts, until there are 64 or more.
        """
        targets: list[Target] = []
        for queries in self.asked:
            targets += [target for query in queries for target in query.targets]
            if len(targets) >= 64:
                break
        return targets

    def fact_columns(self, facts: FactSet) -> dict[str, Array]:
        """Return the columns of ``/facts``, as :class:`qloc.block.Outline` documents them.

        Parameters
        ----------
        facts : FactSet
            The facts, in the order of ``asked``.

        Returns
        -------
        dict of str to ndarray, shape (fact,)
            Name of the column → its values. Attributes of the facts follow the columns that every study has.
        """
        counts = np.array([len(queries) for queries in self.asked], dtype=np.int32)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
        columns: dict[str, Array] = {
            name: np.array([getattr(fact, name) for fact in facts.facts], dtype=str)
            for name in ("id", "subject", "relation", "object", "feature", "kind")
        }
        columns |= {
            "first_query": np.where(counts > 0, first, -1).astype(np.int32),
            "n_queries": counts,
            "n_objects": np.array([max(1, len(fact.objects)) for fact in facts.facts], dtype=np.int32),
            "leaks": np.array([fact.leaks for fact in facts.facts], dtype=np.int8),
        }
        names = dict.fromkeys(name for fact in facts.facts for name in fact.attributes)
        return columns | {
            name: _column([fact.attributes.get(name) for fact in facts.facts]) for name in names
        }


def ask_facts(facts: FactSet, encoder: Encoder) -> Asking:
    """Tokenize every query of every fact together with its answer.

    Parameters
    ----------
    facts : FactSet
        The facts of the study.
    encoder : Encoder
        The model's tokenizer.

    Returns
    -------
    Asking
        The queries that can be asked, and the number of the others by reason.
    """
    asked, excluded = [], Counter[str]()
    for fact in facts.facts:
        queries, reasons = askable(fact, encoder)
        asked.append(tuple(queries))
        excluded.update(reasons)
    return Asking(asked=tuple(asked), excluded=dict(sorted(excluded.items())))


def _column(values: list[Attribute | None]) -> Array:
    """Return an attribute's column: float with NaN for missing values if all are numbers, else text."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(["" if value is None else str(value) for value in values], dtype=str)
