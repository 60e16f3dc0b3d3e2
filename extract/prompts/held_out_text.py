"""Held-out text: what an edit should leave unchanged, and what keys are sampled from.

Both uses are described in docs/methods.md#edits.
"""

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
"""In a masked model, every seventh token is masked and predicted: about BERT's share in training."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Text for one pass.

    Attributes
    ----------
    before : tuple of int
        Special tokens that the tokenizer puts before a text.
    inside : tuple of int
        Tokens of the text.
    after : tuple of int
        Special tokens that the tokenizer puts behind a text.
    """

    before: tuple[int, ...]
    inside: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids that the model reads."""
        return (*self.before, *self.inside, *self.after)


def held_out_text(model: str) -> str:
    """Return text that the model is not edited on.

    Parameters
    ----------
    model : str
        Name of the model, as in the plan.

    Returns
    -------
    str
        For the embedded models, sentences of their own language that they were not trained on; for every
        other model, a passage in English.
    """
    path = held_out_path() if model.startswith("embedded:") else _PASSAGE
    return path.read_text(encoding="utf-8")


def sampled_text(model: str, n_held_out: int) -> tuple[str, int]:
    """Return the text that keys are sampled from, and how many of its first tokens must be skipped.

    The skipped tokens are those on which edits are evaluated.

    Parameters
    ----------
    model : str
        Name of the model, as in the plan.
    n_held_out : int
        Number of tokens that the first windows of :func:`held_out_text` take.

    Returns
    -------
    text : str
        The text.
    skip : int
        ``n_held_out`` for the embedded models, whose two texts are the same; else 0.
    """
    if model.startswith("embedded:"):
        return held_out_text(model), n_held_out
    return _SAMPLE.read_text(encoding="utf-8"), 0


def windows(tokenizer: Any, family: Family, text: str, n_tokens: int, longest: int) -> list[list[Target]]:
    """Cut a text into passes, and return the tokens that are predicted in each of them.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    family : {"causal", "masked"}
        Kind of model.
    text : str
        The text; only its first tokens are used.
    n_tokens : int
        Number of tokens of text in all windows together.
    longest : int
        Largest number of tokens in one pass.

    Returns
    -------
    list of list of Target
        One inner list for each pass. Causal models predict every token but the first, at the position before
        it; masked models predict one token in seven, masked.
    """
    targets_of_pieces = []
    for piece in pieces(tokenizer, family, text, n_tokens, longest):
        if family == "masked":
            targets_of_pieces.append(_masked(piece, tokenizer.mask_token_id))
        else:
            ids = piece.ids
            targets_of_pieces.append(
                [Target(ids=ids, position=n - 1, token=ids[n]) for n in range(1, len(ids))]
            )
    return [window for window in targets_of_pieces if window]


def pieces(
    tokenizer: Any, family: Family, text: str, n_tokens: int, longest: int, *, skip: int = 0
) -> Iterator[Piece]:
    """Cut a part of a text into pieces that each fit into one pass.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    family : {"causal", "masked"}
        Kind of model. Only masked models read the tokenizer's special tokens.
    text : str
        The text.
    n_tokens : int
        Largest number of tokens in all pieces together.
    longest : int
        Largest number of tokens in one pass, special tokens included.
    skip : int
        Number of tokens at the start of the text that are left out.

    Yields
    ------
    Piece
        The pieces in the order of the text. Causal pieces have at least two tokens.
    """
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
    start, unmasked = len(piece.before), piece.ids
    masked_positions = range(start + _MASKED_EVERY // 2, start + len(piece.inside), _MASKED_EVERY)
    ids = tuple(mask if position in masked_positions else token for position, token in enumerate(unmasked))
    return [Target(ids=ids, position=position, token=unmasked[position]) for position in masked_positions]
