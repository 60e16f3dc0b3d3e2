"""Which queries of a study a model can be asked: tokenized once, counted by reason where not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qloc.arrays import Array
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery, askable
from qloc.facts import Attribute, FactSet


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The askable queries of every fact, in input order.

    Attributes
    ----------
    asked : one tuple a fact; empty where nothing can be asked.
    excluded : number of queries left out, by reason.
    """

    asked: tuple[tuple[TokenizedQuery, ...], ...]
    excluded: Mapping[str, int]

    def some_targets(self) -> list[Target]:
        """Targets of the first few queries, for proving an engine: never none."""
        found: list[Target] = []
        for queries in self.asked:
            found += [target for query in queries for target in query.targets]
            if len(found) >= 64:
                break
        return found

    def fact_columns(self, facts: FactSet) -> dict[str, Array]:
        """Columns of ``/facts``, as :class:`qloc.block.Outline` documents them."""
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
    """Tokenize every query with its answer."""
    asked, excluded = [], Counter[str]()
    for fact in facts.facts:
        good, reasons = askable(fact, encoder)
        asked.append(tuple(good))
        excluded.update(reasons)
    return Asking(asked=tuple(asked), excluded=dict(sorted(excluded.items())))


def _column(values: list[Attribute | None]) -> Array:
    """An attribute's column: float with NaN where all are numbers, else text with nothing where missing."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(["" if value is None else str(value) for value in values], dtype=str)
