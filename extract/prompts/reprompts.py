"""Near-identical re-prompts: ask a query again with a prefix of signs before the same words.

Re-prompts measure how much of a query's neuron set is stable if almost nothing about the prompt changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery


def asked_again(
    asked: Sequence[TokenizedQuery], prefix: str, encoder: Encoder
) -> list[TokenizedQuery | None]:
    """Return each query with ``prefix`` before its prompt.

    Parameters
    ----------
    asked : sequence of TokenizedQuery
        The queries as they were asked first.
    prefix : str
        Text that is put before every prompt.
    encoder : Encoder
        Tokenizes the changed prompts.

    Returns
    -------
    list of TokenizedQuery or None
        One entry for each query. None if the changed prompt is not near-identical: the tokenizer drops the
        prefix, the answer is cut into other tokens, or the prompt is longer than the model's context.
    """
    texts = [replace(original.query, text=prefix + original.query.text) for original in asked]
    repeated = encoder.ask_all(
        [(query, original.answer) for query, original in zip(texts, asked, strict=True)]
    )
    return [
        again if isinstance(again, TokenizedQuery) and _near(original, again) else None
        for original, again in zip(asked, repeated, strict=True)
    ]


def _near(original: TokenizedQuery, again: TokenizedQuery) -> bool:
    same_answer = [target.token for target in original.targets] == [target.token for target in again.targets]
    return same_answer and original.targets[0].ids != again.targets[0].ids
