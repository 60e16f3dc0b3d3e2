"""Held-out text: what an edit should leave as it is, cut into windows of tokens (methods.md §7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from qloc.extract.tokens import Family, Target

_PASSAGE: Final = Path(__file__).parent / "passage.txt"
"""From Charles Darwin, On the Origin of Species (1859), in the public domain."""

_EMBEDDED: Final = Path(__file__).parent / "embedded" / "held_out.txt"
_MASKED_EVERY: Final = 7
"""Of a masked model's tokens one in so many is masked and asked for: about the share it was trained with."""


def held_out_text(model: str) -> str:
    """Text that the model is not edited on: of the embedded models their own, else a passage in English."""
    return (_EMBEDDED if model.startswith("embedded:") else _PASSAGE).read_text(encoding="utf-8")


def windows(tokenizer: Any, family: Family, text: str, n_tokens: int, longest: int) -> list[list[Target]]:
    """The text's first tokens, as passes and the tokens that are asked for in each.

    Parameters
    ----------
    n_tokens : tokens of text in all; longest : most of one pass.

    Returns
    -------
    One list a pass; causal: every token but the first, predicted at the position before it; masked: one in
    seven, masked.
    """
    if n_tokens == 0:
        return []
    encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    first = special.index(0)
    last = len(special) - special[::-1].index(0)
    before, after = (ids[:first], ids[last:]) if family == "masked" else ([], [])
    inside = ids[first:last][:n_tokens]
    size = max(2, min(longest, n_tokens) - len(before) - len(after))
    found = []
    for start in range(0, len(inside) - 1, size):
        piece = inside[start : start + size]
        if family == "masked":
            found.append(_masked(before, piece, after, tokenizer.mask_token_id))
        elif len(piece) > 1:
            whole = tuple(piece)
            found.append([Target(ids=whole, position=n - 1, token=whole[n]) for n in range(1, len(whole))])
    return [window for window in found if window]


def _masked(before: list[int], piece: list[int], after: list[int], mask: int) -> list[Target]:
    asked = range(len(before) + _MASKED_EVERY // 2, len(before) + len(piece), _MASKED_EVERY)
    whole = [*before, *piece, *after]
    ids = tuple(mask if place in asked else token for place, token in enumerate(whole))
    return [Target(ids=ids, position=place, token=whole[place]) for place in asked]
