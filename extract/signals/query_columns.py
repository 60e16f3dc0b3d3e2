"""The columns of ``/queries`` for one unit: what the model is asked, and what it answers."""

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
from qloc.extract.signals.answers import (
    TokenScores,
    answers_scored,
    candidate_tokens,
    other_right_answers,
    scored,
)
from qloc.facts import Fact

AnswerTokenIndex = tuple[int, int]
"""(query, answer token) within a unit."""


@dataclass(frozen=True, kw_only=True)
class QueryColumns:
    """The columns of a unit's queries. :meth:`keep` fills them batch by batch, :meth:`finish` completes them.

    Attributes
    ----------
    queries : sequence of TokenizedQuery
        The unit's queries, facts in order.
    fact_of : sequence of Fact
        The fact of each query.
    outline : Outline
        Candidate answers and axis lengths.
    encoder : Encoder
        Tokenizes prompts with answers.
    loaded : LoadedModel
        The model.
    head : Head
        Its output head.
    columns : dict of str to ndarray
        As :class:`qloc.block.Block` documents them.
    """

    queries: Sequence[TokenizedQuery]
    fact_of: Sequence[Fact]
    outline: Outline
    encoder: Encoder
    loaded: LoadedModel
    head: Head
    columns: dict[str, Array]

    def keep(self, places: Sequence[AnswerTokenIndex], scores: TokenScores) -> None:
        """Keep the model's scores at answer tokens.

        Parameters
        ----------
        places : sequence of tuple of (int, int)
            Query and answer token of each row of ``scores``.
        scores : TokenScores
            The scores.
        """
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
        tokens = candidate_tokens(self.encoder, self.queries[query], names)
        single = np.flatnonzero(tokens >= 0)
        at = torch.as_tensor(tokens[single], device=scores.log_softmax.device)
        self.columns["candidate_log_probability"][query, single] = scores.log_softmax[row, at].cpu().numpy()

    def finish(self, done: Iterable[AnswerTokenIndex]) -> dict[str, Array]:
        """Score the answer tokens that were not attributed, whole answers and bad continuations.

        Parameters
        ----------
        done : iterable of tuple of (int, int)
            Query and answer token of everything that was kept.

        Returns
        -------
        dict of str to ndarray
            The finished columns.
        """
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
            (place, number)
            for place, query in enumerate(self.queries)
            for number in range(len(query.targets))
        }
        left = sorted(every - done)
        targets = [self.queries[query].targets[number] for query, number in left]
        scores = scored(self.loaded, self.head, targets)
        self._refuse_nan([query for query, _ in left], scores)
        for place, (log_probability, rank) in zip(left, scores, strict=True):
            self.columns["token_log_probability"][place] = log_probability
            self.columns["token_rank"][place] = rank

    def _score_bad_continuations(self) -> None:
        answers = [fact.bad_of(query.query) for fact, query in zip(self.fact_of, self.queries, strict=True)]
        every = [(q, self._ask_again(q, answer)) for q, answer in enumerate(answers) if answer is not None]
        bad = [(query, asked) for query, asked in every if asked]
        scores = answers_scored(self.loaded, self.head, [asked for _, asked in bad])
        self._refuse_nan([query for query, _ in bad], scores)
        for (query, _), (log_probability, _) in zip(bad, scores, strict=True):
            self.columns["bad_log_probability"][query] = log_probability
            if self.fact_of[query].is_group:  # single pairs keep the rank's: readers derive this one
                known = self.columns["log_probability"][query] > self.columns["bad_log_probability"][query]
                self.columns["known"][query] = known

    def _know_other_right_answers(self) -> None:
        """Mark queries as known, too, for whose prompt another right object ranks first."""
        queries = list(zip(self.fact_of, self.queries, strict=True))
        candidates = other_right_answers(self.encoder, queries, self.columns["known"] == 1)
        scores = answers_scored(self.loaded, self.head, [asked for _, asked in candidates])
        self._refuse_nan([query for query, _ in candidates], scores)
        for (query, _), (_, rank) in zip(candidates, scores, strict=True):
            if rank == 1:
                self.columns["known"][query] = 1

    def _refuse_nan(self, queries: Sequence[int], scores: Sequence[tuple[float, int]]) -> None:
        for query, (log_probability, _) in zip(queries, scores, strict=True):
            if not np.isfinite(log_probability):
                raise not_finite(self.queries[query], self.fact_of[query])

    def _ask_again(self, query: int, answer: str) -> TokenizedQuery | None:
        asked = self.encoder.ask(self.queries[query].query, answer, ignore_tail=True)
        return asked if isinstance(asked, TokenizedQuery) else None


def not_finite(query: TokenizedQuery, fact: Fact) -> ModelError:
    """Make the error of a query for which the model returns NaN or infinity.

    Parameters
    ----------
    query : TokenizedQuery
        The query.
    fact : Fact
        Its fact.

    Returns
    -------
    ModelError
        To be raised.
    """
    place = f"query {query.prompt!r} of fact {fact.id!r}"
    action = "Try --dtype float32, or leave the query out"
    return ModelError(message("the model's output", "NaN or infinite", "finite numbers", place, action))


def empty_columns(
    queries: Sequence[TokenizedQuery],
    facts: Sequence[Fact],
    index: Sequence[int],
    unit: Unit,
    outline: Outline,
) -> dict[str, Array]:
    """Fill the columns that are known before the model runs; the others get missing values.

    Parameters
    ----------
    queries : sequence of TokenizedQuery
        The unit's queries, facts in order.
    facts : sequence of Fact
        The unit's facts.
    index : sequence of int
        Each query's fact, as its number within the unit.
    unit : Unit
        The unit.
    outline : Outline
        Axis lengths.

    Returns
    -------
    dict of str to ndarray
        Every column; NaN or -1 where the model is to be run first.
    """
    sizes, n = outline.sizes, len(queries)
    columns: dict[str, Array] = {
        "fact": np.array(index, dtype=np.int32) + np.int32(unit.first_fact),
        "template": _text([query.query.template for query in queries]),
        "relation": _text([facts[fact].relation for fact in index]),
        "prompt": _text([query.prompt for query in queries]),
        "answer": _text([query.answer for query in queries]),
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
    for row, query in enumerate(queries):
        n_tokens = len(query.targets)
        columns["answer_token_id"][row, :n_tokens] = [target.token for target in query.targets]
        columns["target_position"][row, :n_tokens] = [target.position for target in query.targets]
    return columns


def _text(values: list[str]) -> Array:
    return np.array(values, dtype=str) if values else np.empty(0, dtype="<U1")
