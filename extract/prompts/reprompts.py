"""Near-identical re-prompts: a query asked again with other signs before the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery


def asked_again(
    asked: Sequence[TokenizedQuery], prefix: str, encoder: Encoder
) -> list[TokenizedQuery | None]:
    """Each query with ``prefix`` before its prompt.

    None where that is no near-identical query: the tokenizer drops the prefix, the answer is cut into other
    tokens, or the prompt is too long.
    """
    texts = [replace(one.query, text=prefix + one.query.text) for one in asked]
    found = encoder.ask_all([(text, one.answer) for text, one in zip(texts, asked, strict=True)])
    return [
        again if isinstance(again, TokenizedQuery) and _near(one, again) else None
        for one, again in zip(asked, found, strict=True)
    ]


def _near(one: TokenizedQuery, again: TokenizedQuery) -> bool:
    same_answer = [target.token for target in one.targets] == [target.token for target in again.targets]
    return same_answer and one.targets[0].ids != again.targets[0].ids
