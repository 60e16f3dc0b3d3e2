"""``qloc facts check``: count the queries that a model can be asked, and those that it knows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from qloc.extract.models.output_head import Head
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.signals.answers import answers_scored, other_right_answers
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.query_columns import not_finite
from qloc.facts import Fact

AT_A_TIME = 32
"""Facts whose queries are scored together."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One fact, and how many of its queries the model can be asked and knows.

    Attributes
    ----------
    fact : Fact
        The fact.
    n_askable : int
        Queries that the model can be asked.
    n_known : int
        Queries for which a right answer ranks first, as in the column ``known`` of a store.
    """

    fact: Fact
    n_askable: int
    n_known: int

    @property
    def left(self) -> int:
        """Queries that headline figures use: the known ones, of a fact that does not leak its answer."""
        return 0 if self.fact.leaks else self.n_known


def checked(extraction: Extraction) -> Iterator[Checked]:
    """Check every fact, in input order, by plain forward passes without gradients.

    Parameters
    ----------
    extraction : Extraction
        Model and facts.

    Yields
    ------
    Checked
        One for each fact.

    Raises
    ------
    InputError
        The model cannot be asked any query.
    ModelError
        A number is not finite; the message names the query.
    """
    facts, asked = extraction.facts.facts, extraction.asking.asked
    for start in range(0, len(facts), AT_A_TIME):
        chosen = range(start, min(start + AT_A_TIME, len(facts)))
        queries = [(fact, query) for fact in chosen for query in asked[fact]]
        known = _known(extraction, [(facts[fact], query) for fact, query in queries])
        n_known = dict.fromkeys(chosen, 0)
        for (fact, _), is_known in zip(queries, known, strict=True):
            n_known[fact] += is_known
        for fact in chosen:
            yield Checked(fact=facts[fact], n_askable=len(asked[fact]), n_known=n_known[fact])


def _known(extraction: Extraction, queries: list[tuple[Fact, TokenizedQuery]]) -> list[bool]:
    """Return, for each query, whether any right answer ranks first."""
    loaded = extraction.loaded
    head = Head(model=loaded.model, module=loaded.sites.head, chunk_bytes=extraction.plan.memory // 4)
    known = [False] * len(queries)

    def score(numbered: list[tuple[int, TokenizedQuery]]) -> None:
        scores = answers_scored(loaded, head, [query for _, query in numbered])
        for (place, query), (log_probability, rank) in zip(numbered, scores, strict=True):
            if not math.isfinite(log_probability):
                raise not_finite(query, queries[place][0])
            known[place] |= rank == 1

    score([(place, query) for place, (_, query) in enumerate(queries)])
    score(other_right_answers(extraction.source.encoder(), queries, known))
    return known
