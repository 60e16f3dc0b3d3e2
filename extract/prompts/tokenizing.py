"""Turn a prompt with ``[Y]`` and its answer into token ids and targets, or say why it cannot be asked.

Prompt and answer are tokenized *together* and cut at the answer's characters, because a tokenizer may join
what stands left and right of the seam. One rule holds for every tokenizer: the answer's tokens are those that
decode to the answer, with what a token has besides that straddles the seam. A token that is only the space
before the answer belongs to the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from qloc.errors import InputError, message
from qloc.facts import Fact, Query

Family = Literal["causal", "masked"]

UNKNOWN_SUBJECT: Final = "subject unknown to the tokenizer"
"""Reason of queries whose subject has a part that the tokenizer has no token for."""

NO_CUE: Final = "cue not before the answer"
"""Begins the reason of pairs whose prefix does not decide between the two forms; it names the paradigm."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One answer token, and the pass in which the model predicts it.

    Attributes
    ----------
    ids : tuple of int
        Token ids that the model reads. Causal models read the prompt and the gold answer up to this token;
        masked models read the whole prompt, with every answer token masked.
    position : int
        Position at which the token is predicted: the last one (causal) or that of its mask (masked).
    token : int
        Id of the answer token.
    against : int or None
        Id of a token whose probability is subtracted, for contrasts.
    """

    ids: tuple[int, ...]
    position: int
    token: int
    against: int | None = None


@dataclass(frozen=True, kw_only=True)
class TokenizedQuery:
    """A query as this model reads it.

    Attributes
    ----------
    query : Query
        The query, with ``[Y]`` in its text.
    answer : str
        The answer that stands in place of ``[Y]``.
    targets : tuple of Target
        One target for each token of the answer, in order.
    space_apart : bool, default False
        Whether the space before the answer is a token of its own: its probability is not in the answer's.
    recut : bool, default False
        Whether the tokenizer's offsets alone, which earlier versions went by, give the answer other tokens.
    """

    query: Query
    answer: str
    targets: tuple[Target, ...]
    space_apart: bool = False
    recut: bool = False

    @property
    def prompt(self) -> str:
        """Text of the query, with ``[Y]`` in the answer's place."""
        return self.query.text


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Every answer token of some queries.

    Attributes
    ----------
    targets : sequence of Target
        The tokens and their passes.
    query : int64 ndarray, shape (token,)
        Index of the query that each token belongs to.
    first : bool ndarray, shape (token,)
        Whether the token is the first of its answer.
    share : float64 ndarray, shape (token,)
        One divided by the number of tokens of its answer.
    """

    targets: Sequence[Target]
    query: NDArray[np.int64]
    first: NDArray[np.bool_]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, asked: Sequence[TokenizedQuery]) -> Tokens:
        """Return the tokens of these queries, in order.

        Parameters
        ----------
        asked : sequence of TokenizedQuery
            The queries.

        Returns
        -------
        Tokens
            One entry for each token of each answer.
        """
        rows = [
            (index, number, len(tokenized.targets))
            for index, tokenized in enumerate(asked)
            for number in range(len(tokenized.targets))
        ]
        query, number, count = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        targets = [target for tokenized in asked for target in tokenized.targets]
        return cls(targets=targets, query=query, first=number == 0, share=1 / count)

    @property
    def answers(self) -> NDArray[np.int64]:
        """Ids of the answer tokens, int64, shape (token,)."""
        return np.array([target.token for target in self.targets], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One model's tokenizer, and how prompts are put to that model.

    Attributes
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        A fast tokenizer; only fast tokenizers give offsets.
    family : {"causal", "masked"}
        Kind of model.
    longest : int
        Largest number of positions that the model can read.

    Raises
    ------
    InputError
        If the tokenizer is not fast, or the model is masked and the tokenizer has no mask token.
    """

    tokenizer: Any
    family: Family
    longest: int

    def __post_init__(self) -> None:
        place, action = "the model's tokenizer", "Convert it with transformers' AutoTokenizer"
        if not getattr(self.tokenizer, "is_fast", False):
            rule = "a fast tokenizer, the only kind that gives offsets"
            raise InputError(message("tokenizer", type(self.tokenizer).__name__, rule, place, action))
        if self.family == "masked" and self.tokenizer.mask_token_id is None:
            rule = "one with a mask token, as masked language models need"
            raise InputError(
                message("tokenizer", type(self.tokenizer).__name__, rule, place, "Set its mask_token")
            )

    def ask(self, query: Query, answer: str, *, ignore_tail: bool = False) -> TokenizedQuery | str:
        """Return the query with ``answer`` in its place, or the reason why this model cannot be asked it.

        Parameters
        ----------
        query : Query
            The query, with ``[Y]`` in its text.
        answer : str
            Text that takes the place of ``[Y]``.
        ignore_tail : bool
            Whether a causal model may be asked although words follow the answer.

        Returns
        -------
        TokenizedQuery or str
            The tokenized query, or a reason.
        """
        tokenized = self.ask_all([(query, answer)], ignore_tail=ignore_tail)
        return tokenized[0]

    def ask_all(
        self, asked: Sequence[tuple[Query, str]], *, ignore_tail: bool = False, subject: str = ""
    ) -> list[TokenizedQuery | str]:
        """Return the same as :meth:`ask` for many queries, with one call of the tokenizer.

        Parameters
        ----------
        asked : sequence of (Query, str)
            Queries and their answers.
        ignore_tail : bool
            Whether a causal model may be asked although words follow the answer.
        subject : str
            Subject of the queries, of which the tokenizer must know every part; not looked at if empty.

        Returns
        -------
        list of TokenizedQuery or str
            One entry for each pair, in order.
        """
        if not asked:
            return []
        masked = self.family == "masked"
        texts = [query.head + answer + (query.tail if masked else "") for query, answer in asked]
        encoded = self.tokenizer(texts, return_offsets_mapping=True)
        return [
            self._unknown_subject(text, subject, ids, spans)
            or self._cut(query, answer, ids, spans, ignore_tail)
            for (query, answer), text, ids, spans in zip(
                asked, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
        ]

    def _cut(
        self, query: Query, answer: str, ids: list[int], spans: list[tuple[int, int]], ignore_tail: bool
    ) -> TokenizedQuery | str:
        if self.family == "causal" and not ignore_tail and any(c.isalnum() for c in query.tail):
            return "text after the answer (causal)"
        start, stop = len(query.head), len(query.head) + len(answer)
        by_offsets = [n for n, (a, b) in enumerate(spans) if b > a and b > start and a < stop]
        where = self._answer_tokens(answer, ids, spans, by_offsets, start)
        reason = self._unaskable(ids, where)
        if reason:
            return reason
        if self.family == "causal":
            targets = [Target(ids=tuple(ids[:n]), position=n - 1, token=ids[n]) for n in where]
        else:
            hidden = set(where)
            masked = tuple(self.tokenizer.mask_token_id if n in hidden else id for n, id in enumerate(ids))
            targets = [Target(ids=masked, position=n, token=ids[n]) for n in where]
        return TokenizedQuery(
            query=query,
            answer=answer,
            targets=tuple(targets),
            space_apart=where[0] > 0 and self._is_space(ids[where[0] - 1]),
            recut=where != by_offsets,
        )

    def _answer_tokens(
        self, answer: str, ids: list[int], spans: list[tuple[int, int]], by_offsets: list[int], start: int
    ) -> list[int]:
        """Return the places of the answer's tokens, by the rule of this module.

        Tokenizers that trim offsets, or put a space behind a token that was added to the vocabulary, give
        some tokens no width.
        """
        flat = [n for n, (a, b) in enumerate(spans) if a == b >= start and ids[n] not in self._special]
        inside = by_offsets or [n for n in flat if not self._is_space(ids[n])]
        if not inside:
            return []
        first, last = inside[0], inside[-1]
        while first - 1 in flat and not self._is_space(ids[first - 1]):
            if self.tokenizer.decode(ids[first : last + 1]).strip().endswith(answer.strip()):
                break
            first -= 1
        while first < last and self._is_space(ids[first]):
            first += 1
        return list(range(first, last + 1))

    def _is_space(self, token: int) -> bool:
        """Whether a token is white space alone; a byte of a character is not."""
        if token not in self._spaces:
            self._spaces[token] = token not in self._special and not self.tokenizer.decode([token]).strip()
        return self._spaces[token]

    @cached_property
    def _spaces(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(self.tokenizer.all_special_ids)

    def _unknown_subject(self, text: str, subject: str, ids: list[int], spans: list[tuple[int, int]]) -> str:
        """Say so if the tokenizer does not know part of the subject: two subjects would be one prompt."""
        unknown = self.tokenizer.unk_token_id
        if not subject or unknown is None or unknown not in ids:
            return ""
        places = [match.span() for match in re.finditer(re.escape(subject), text)]
        lost = [spans[n] for n, token in enumerate(ids) if token == unknown]
        return UNKNOWN_SUBJECT if any(a < y and b > x for a, b in lost for x, y in places) else ""

    def _unaskable(self, ids: list[int], where: list[int]) -> str:
        if not where:
            return "no token for the answer"
        if self.family == "causal" and where[0] == 0:
            return "no prompt before the answer (causal)"
        needed = where[-1] if self.family == "causal" else len(ids)
        if needed > self.longest:
            return "longer than the model's context"
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and any(ids[n] == unknown for n in where):
            return "answer unknown to the tokenizer"
        return ""


def askable(fact: Fact, encoder: Encoder) -> tuple[list[TokenizedQuery], list[str]]:
    """Return the queries of a fact that this model can be asked, and a reason for each of the others.

    For a minimal pair, a causal model reads up to ``[Y]`` and ignores what follows. A pair is asked only if
    both of its continuations can be.

    Parameters
    ----------
    fact : Fact
        A fact or a minimal pair.
    encoder : Encoder
        The model's tokenizer.

    Returns
    -------
    queries : list of TokenizedQuery
        The queries that can be asked, in input order.
    reasons : list of str
        One reason for each query that cannot be asked.
    """
    pair = fact.kind == "minimal_pair"
    if pair and encoder.family == "causal" and not fact.cue_in_prefix:
        return [], [f"{NO_CUE} (causal): {fact.relation}"] * len(fact.queries)
    queries, reasons = [], []
    subject = "" if pair else fact.subject
    asked = [(query, fact.answer_of(query)) for query in fact.queries]
    answers = encoder.ask_all(asked, ignore_tail=pair, subject=subject)
    for query, tokenized in zip(fact.queries, answers, strict=True):
        bad = fact.bad_of(query)
        if isinstance(tokenized, TokenizedQuery) and bad is not None:
            with_bad = encoder.ask(query, bad, ignore_tail=True)
            tokenized = with_bad if isinstance(with_bad, str) else tokenized
        if isinstance(tokenized, str):
            reasons.append(tokenized)
        else:
            queries.append(tokenized)
    return queries, reasons
