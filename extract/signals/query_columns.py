"""The columns of ``/queries`` for one unit: what was asked, and what the model answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from qloc.arrays import Array
from qloc.block import Outline, Unit
from qloc.errors import ModelError, message
from qloc.extract.models.loading import LoadedModel
from qloc.extract.models.output_head import Head
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.extract.signals.answers import TokenScores, answers_scored, candidate_tokens, scored
from qloc.facts import Fact

AnswerTokenIndex = tuple[int, int]
"""(query, answer token) within a unit."""


@dataclass(frozen=True, kw_only=True)
class QueryColumns:
    """Filled batch by batch by :meth:`keep`, then completed by :meth:`finish`.

    Attributes
    ----------
    asked : the unit's queries, facts in order.
    fact_of : the fact of each query.
    columns : as :class:`qloc.block.Block` documents them.
    """

    asked: Sequence[TokenizedQuery]
    fact_of: Sequence[Fact]
    outline: Outline
    encoder: Encoder
    loaded: LoadedModel
    head: Head
    columns: dict[str, Array]

    def keep(self, places: Sequence[AnswerTokenIndex], scores: TokenScores) -> None:
        """Keep what the model says at answer tokens, one row of ``scores`` each."""
        for row, (query, number) in enumerate(places):
            self.columns["token_log_probability"][query, number] = scores.log_probability[row]
            self.columns["token_rank"][query, number] = scores.rank[row]
            if number == 0:
                self.columns["argmax"][query] = scores.argmax[row]
                self.columns["top_token_id"][query] = scores.top_token[row]
                self.columns["top_log_probability"][query] = scores.top_log_probability[row]
                self._keep_candidates(query, scores, row)

    def _keep_candidates(self, query: int, scores: TokenScores, row: int) -> None:
        names = self.outline.candidates[self.fact_of[query].relation]
        tokens = candidate_tokens(self.encoder, self.asked[query], names)
        single = np.flatnonzero(tokens >= 0)
        at = torch.as_tensor(tokens[single], device=scores.log_softmax.device)
        self.columns["candidate_log_probability"][query, single] = scores.log_softmax[row, at].cpu().numpy()

    def finish(self, done: Iterable[AnswerTokenIndex]) -> dict[str, Array]:
        """Score what was not attributed, whole answers and bad continuations; gives the columns."""
        self._score_the_rest(set(done))
        within = self.columns["answer_token_id"] >= 0
        self.columns["log_probability"][:] = np.sum(
            self.columns["token_log_probability"], axis=1, where=within
        )
        self.columns["rank"][:] = self.columns["token_rank"].max(axis=1, initial=-1)
        self.columns["known"][:] = self.columns["rank"] == 1
        self._score_bad_continuations()
        self._know_other_right_answers()
        return self.columns

    def _score_the_rest(self, done: set[AnswerTokenIndex]) -> None:
        every = {
            (query, number) for query, one in enumerate(self.asked) for number in range(len(one.targets))
        }
        left = sorted(every - done)
        targets = [self.asked[query].targets[number] for query, number in left]
        found = scored(self.loaded, self.head, targets)
        self._refuse_nan([query for query, _ in left], found)
        for place, (log_probability, rank) in zip(left, found, strict=True):
            self.columns["token_log_probability"][place] = log_probability
            self.columns["token_rank"][place] = rank

    def _score_bad_continuations(self) -> None:
        bad = [
            (q, self._ask_again(q, fact.bad)) for q, fact in enumerate(self.fact_of) if fact.bad is not None
        ]
        asked = [(query, one) for query, one in bad if one]
        found = answers_scored(self.loaded, self.head, [one for _, one in asked])
        self._refuse_nan([query for query, _ in asked], found)
        for (query, _), (log_probability, _) in zip(asked, found, strict=True):
            self.columns["bad_log_probability"][query] = log_probability

    def _know_other_right_answers(self) -> None:
        """A query is known too where another right object ranks first for the same prompt."""
        wondering: list[tuple[int, TokenizedQuery]] = []
        for query in map(int, np.flatnonzero(self.columns["known"] == 0)):
            for other in self.fact_of[query].objects:
                asked = self._ask_again(query, other) if other != self.fact_of[query].object else None
                if asked and asked.targets[0].token == self.columns["argmax"][query]:
                    wondering.append((query, asked))
        found = answers_scored(self.loaded, self.head, [one for _, one in wondering])
        self._refuse_nan([query for query, _ in wondering], found)
        for (query, _), (_, rank) in zip(wondering, found, strict=True):
            if rank == 1:
                self.columns["known"][query] = 1

    def _refuse_nan(self, queries: Sequence[int], found: Sequence[tuple[float, int]]) -> None:
        for query, (log_probability, _) in zip(queries, found, strict=True):
            if not np.isfinite(log_probability):
                raise not_finite(self.asked[query], self.fact_of[query])

    def _ask_again(self, query: int, answer: str) -> TokenizedQuery | None:
        asked = self.encoder.ask(self.asked[query].query, answer, ignore_tail=True)
        return asked if isinstance(asked, TokenizedQuery) else None


def not_finite(asked: TokenizedQuery, fact: Fact) -> ModelError:
    """The error of a query for which the model gives NaN or infinity."""
    place = f"query {asked.prompt!r} of fact {fact.id!r}"
    action = "Try --dtype float32, or leave the query out"
    return ModelError(message("the model's output", "NaN or infinite", "finite numbers", place, action))


def empty_columns(
    asked: Sequence[TokenizedQuery], facts: Sequence[Fact], index: Sequence[int], unit: Unit, outline: Outline
) -> dict[str, Array]:
    """What is known before the model runs, and missing values for the rest.

    Parameters
    ----------
    facts : the unit's facts.
    index : each query's fact, within the unit.
    """
    sizes, n = outline.sizes, len(asked)
    columns: dict[str, Array] = {
        "fact": np.array(index, dtype=np.int32) + np.int32(unit.first_fact),
        "template": _text([one.query.template for one in asked]),
        "relation": _text([facts[fact].relation for fact in index]),
        "prompt": _text([one.prompt for one in asked]),
        "answer": _text([one.answer for one in asked]),
        "kind": _text([facts[fact].kind for fact in index]),
        "answer_token_id": np.full((n, sizes["answer_token"]), -1, np.int32),
        "target_position": np.full((n, sizes["answer_token"]), -1, np.int32),
        "token_log_probability": np.full((n, sizes["answer_token"]), np.nan, np.float32),
        "token_rank": np.full((n, sizes["answer_token"]), -1, np.int32),
        "log_probability": np.full(n, np.nan, np.float32),
        "bad_log_probability": np.full(n, np.nan, np.float32),
        "rank": np.full(n, -1, np.int32),
        "argmax": np.full(n, -1, np.int32),
        "known": np.full(n, -1, np.int8),
        "top_token_id": np.full((n, sizes["top"]), -1, np.int32),
        "top_log_probability": np.full((n, sizes["top"]), np.nan, np.float32),
        "candidate_log_probability": np.full((n, sizes["candidate"]), np.nan, np.float32),
    }
    for query, one in enumerate(asked):
        columns["answer_token_id"][query, : len(one.targets)] = [target.token for target in one.targets]
        columns["target_position"][query, : len(one.targets)] = [target.position for target in one.targets]
    return columns


def _text(values: list[str]) -> Array:
    return np.array(values, dtype=str) if values else np.empty(0, dtype="<U1")
