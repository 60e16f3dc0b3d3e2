"""Held-out text: what an edit should leave as it is, and what keys are sampled from (methods.md §7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qloc.extract.embedded import held_out_path
from qloc.extract.prompts.tokenizing import Family, Target

_HERE: Final = Path(__file__).parent
_PASSAGE: Final = _HERE / "passage.txt"
"""From Charles Darwin, On the Origin of Species (1859), in the public domain."""

_SAMPLE: Final = _HERE / "sample.txt"
"""From Lincoln's address at Gettysburg, the Declaration of Independence, and novels by Austen, Melville,
Carroll, Dickens, Verne and Conan Doyle, all in the public domain."""

_MASKED_EVERY: Final = 7
"""Of a masked model's tokens one in so many is masked and asked for: about the share it was trained with."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Text for one pass: its tokens, between what the tokenizer puts before and behind a text."""

    before: tuple[int, ...]
    inside: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """What the model reads."""
        return (*self.before, *self.inside, *self.after)


def held_out_text(model: str) -> str:
    """Text that the model is not edited on: of the embedded models their own, else a passage in English."""
    path = held_out_path() if model.startswith("embedded:") else _PASSAGE
    return path.read_text(encoding="utf-8")


def sampled_text(model: str, n_held_out: int) -> tuple[str, int]:
    """Text that keys are sampled from, and how many of its tokens edits are tested on, and are to be skipped.

    Parameters
    ----------
    n_held_out : tokens that the first windows of :func:`held_out_text` take.
    """
    if model.startswith("embedded:"):
        return held_out_text(model), n_held_out
    return _SAMPLE.read_text(encoding="utf-8"), 0


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
    found = []
    for piece in pieces(tokenizer, family, text, n_tokens, longest):
        if family == "masked":
            found.append(_masked(piece, tokenizer.mask_token_id))
        else:
            ids = piece.ids
            found.append([Target(ids=ids, position=n - 1, token=ids[n]) for n in range(1, len(ids))])
    return [window for window in found if window]


def pieces(
    tokenizer: Any, family: Family, text: str, n_tokens: int, longest: int, *, skip: int = 0
) -> Iterator[Piece]:
    """Tokens of the text from number ``skip`` on, at most ``n_tokens``, cut so that each is one pass."""
    if n_tokens == 0:
        return
    encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    first = special.index(0)
    last = len(special) - special[::-1].index(0)
    before, after = (ids[:first], ids[last:]) if family == "masked" else ([], [])
    inside = ids[first:last][skip : skip + n_tokens]
    size = max(2, min(longest, n_tokens) - len(before) - len(after))
    for start in range(0, len(inside) - 1, size):
        part = inside[start : start + size]
        if family == "masked" or len(part) > 1:
            yield Piece(before=tuple(before), inside=tuple(part), after=tuple(after))


def _masked(piece: Piece, mask: int) -> list[Target]:
    first, whole = len(piece.before), piece.ids
    asked = range(first + _MASKED_EVERY // 2, first + len(piece.inside), _MASKED_EVERY)
    ids = tuple(mask if place in asked else token for place, token in enumerate(whole))
    return [Target(ids=ids, position=place, token=whole[place]) for place in asked]
