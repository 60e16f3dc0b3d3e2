"""From a prompt with ``[Y]`` to token ids and targets, by offsets; and what cannot be asked, by reason.

Prompt and answer are tokenized *together* and cut where the answer's characters are, because a tokenizer
may join what stands left and right of the seam. A token that straddles prompt and answer belongs to the
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qloc.errors import InputError, message
from qloc.facts import Fact, Query

Family = Literal["causal", "masked"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One answer token and the pass that asks for it.

    Attributes
    ----------
    ids : what the model reads. Causal: the prompt and the gold answer up to here. Masked: the whole prompt,
        every answer token masked.
    position : where the token is predicted: the last position (causal), or that of its mask.
    token : id of the answer token.
    against : id of a token whose probability is subtracted, for contrasts; else None.
    """

    ids: tuple[int, ...]
    position: int
    token: int
    against: int | None = None


@dataclass(frozen=True, kw_only=True)
class TokenizedQuery:
    """A query as this model is asked it: one target for each token of the answer, in order."""

    query: Query
    answer: str
    targets: tuple[Target, ...]

    @property
    def prompt(self) -> str:
        """The text with the answer's place marked."""
        return self.query.text


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Every answer token of some queries; arrays are (token,).

    Attributes
    ----------
    query : whose token it is.
    first : whether it is its answer's first.
    share : one by the number of its answer's tokens.
    """

    targets: Sequence[Target]
    query: NDArray[np.int64]
    first: NDArray[np.bool_]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, asked: Sequence[TokenizedQuery]) -> Tokens:
        """The tokens of these queries, in order."""
        numbers = [(q, n, len(one.targets)) for q, one in enumerate(asked) for n in range(len(one.targets))]
        query, number, count = np.array(numbers, dtype=np.int64).reshape(-1, 3).T
        targets = [target for one in asked for target in one.targets]
        return cls(targets=targets, query=query, first=number == 0, share=1 / count)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The answer tokens' ids."""
        return np.array([target.token for target in self.targets], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Asks one model's tokenizer.

    Attributes
    ----------
    tokenizer : a fast tokenizer of transformers (only these give offsets).
    family : what kind of model is asked.
    longest : most positions that the model can read.
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
        """The query with ``answer`` in its place, or the reason why this model cannot be asked it."""
        found = self.ask_all([(query, answer)], ignore_tail=ignore_tail)
        return found[0]

    def ask_all(
        self, asked: Sequence[tuple[Query, str]], *, ignore_tail: bool = False
    ) -> list[TokenizedQuery | str]:
        """As :meth:`ask`, for many at once (one call of the tokenizer)."""
        if not asked:
            return []
        masked = self.family == "masked"
        texts = [query.head + answer + (query.tail if masked else "") for query, answer in asked]
        encoded = self.tokenizer(texts, return_offsets_mapping=True)
        return [
            self._cut(query, answer, ids, spans, ignore_tail)
            for (query, answer), ids, spans in zip(
                asked, encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
        ]

    def _cut(
        self, query: Query, answer: str, ids: list[int], spans: list[tuple[int, int]], ignore_tail: bool
    ) -> TokenizedQuery | str:
        if self.family == "causal" and not ignore_tail and any(c.isalnum() for c in query.tail):
            return "text after the answer (causal)"
        start, stop = len(query.head), len(query.head) + len(answer)
        where = [n for n, (a, b) in enumerate(spans) if b > a and b > start and a < stop]
        reason = self._unaskable(ids, where)
        if reason:
            return reason
        if self.family == "causal":
            targets = [Target(ids=tuple(ids[:n]), position=n - 1, token=ids[n]) for n in where]
        else:
            hidden = set(where)
            masked = tuple(self.tokenizer.mask_token_id if n in hidden else id for n, id in enumerate(ids))
            targets = [Target(ids=masked, position=n, token=ids[n]) for n in where]
        return TokenizedQuery(query=query, answer=answer, targets=tuple(targets))

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
    """The queries of a fact that this model can be asked, and a reason for each of the others.

    For a minimal pair a causal LM reads up to ``[Y]`` and ignores what follows; both continuations must be
    askable.
    """
    pair = fact.kind == "minimal_pair"
    if pair and encoder.family == "causal" and not fact.cue_in_prefix:
        return [], ["cue not before the answer (causal)"] * len(fact.queries)
    good, reasons = [], []
    found = encoder.ask_all([(query, fact.object) for query in fact.queries], ignore_tail=pair)
    for query, asked in zip(fact.queries, found, strict=True):
        if isinstance(asked, TokenizedQuery) and pair and fact.bad is not None:
            other = encoder.ask(query, fact.bad, ignore_tail=True)
            asked = other if isinstance(other, str) else asked
        if isinstance(asked, str):
            reasons.append(asked)
        else:
            good.append(asked)
    return good, reasons
