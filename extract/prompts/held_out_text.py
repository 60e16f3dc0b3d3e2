"""Held-out text: what an edit should leave unchanged, and what keys are sampled from.

Both uses are described in docs/methods.md#edits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qloc.extract.embedded import held_out_path
from qloc.extract.prompts.tokenizing import Family, Target
from qloc.vocabulary import PERMUTED

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
    passed : int, default 0
        Number of tokens in the texts before this one.
    """

    before: tuple[int, ...]
    inside: tuple[int, ...]
    after: tuple[int, ...]
    passed: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids that the model reads."""
        return (*self.before, *self.inside, *self.after)


def reads_single_lines(model: str) -> bool:
    """Return whether a model was trained on single lines, so that it cannot read several of them as one text.

    Parameters
    ----------
    model : str
        Name of the model, as in the plan.

    Returns
    -------
    bool
        True for the embedded models alone.
    """
    return model.removeprefix(PERMUTED).startswith("embedded:")


def held_out_texts(model: str, *, joined: bool = False) -> tuple[str, ...]:
    """Return texts that the model is not edited on; no window goes over more than one of them.

    Parameters
    ----------
    model : str
        Name of the model, as in the plan.
    joined : bool, default False
        Whether the lines of the embedded models' text are one text, as in older stores.

    Returns
    -------
    tuple of str
        For the embedded models, sentences of their own language that they were not trained on, one on each
        line, as they were trained; for every other model one passage in English.
    """
    if not reads_single_lines(model):
        return (_PASSAGE.read_text(encoding="utf-8"),)
    text = held_out_path().read_text(encoding="utf-8")
    return (text,) if joined else tuple(text.splitlines())


def sampled_texts(model: str, n_held_out: int, *, joined: bool = False) -> tuple[tuple[str, ...], int]:
    """Return the texts that keys are sampled from, and how many of their first tokens must be skipped.

    The skipped tokens are those on which edits are evaluated.

    Parameters
    ----------
    model : str
        Name of the model, as in the plan.
    n_held_out : int
        Number of tokens that the first windows of :func:`held_out_texts` take.
    joined : bool, default False
        As for :func:`held_out_texts`.

    Returns
    -------
    texts : tuple of str
        The texts.
    skip : int
        ``n_held_out`` for the embedded models, whose two texts are the same; else 0.
    """
    if reads_single_lines(model):
        return held_out_texts(model, joined=joined), n_held_out
    return (_SAMPLE.read_text(encoding="utf-8"),), 0


def windows(
    tokenizer: Any, family: Family, texts: Sequence[str], n_tokens: int, longest: int
) -> list[list[Target]]:
    """Cut texts into passes, and return the tokens that are predicted in each of them.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    family : {"causal", "masked"}
        Kind of model.
    texts : sequence of str
        The texts; only their first tokens are used.
    n_tokens : int
        Number of tokens of text in all windows together.
    longest : int
        Largest number of tokens in one pass.

    Returns
    -------
    list of list of Target
        One inner list for each pass. Causal models predict every token but the first, at the position before
        it; masked models predict one token in seven, masked, counted over all texts, so that short ones are
        not all masked at one place.
    """
    targets_of_pieces = []
    for piece in pieces(tokenizer, family, texts, n_tokens, longest):
        if family == "masked":
            targets_of_pieces.append(_masked(piece, tokenizer.mask_token_id))
        else:
            ids = piece.ids
            targets_of_pieces.append(
                [Target(ids=ids, position=n - 1, token=ids[n]) for n in range(1, len(ids))]
            )
    return [window for window in targets_of_pieces if window]


def pieces(
    tokenizer: Any, family: Family, texts: Sequence[str], n_tokens: int, longest: int, *, skip: int = 0
) -> Iterator[Piece]:
    """Cut a part of some texts into pieces that each fit into one pass; no piece is of two texts.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    family : {"causal", "masked"}
        Kind of model. Only masked models read the tokenizer's special tokens.
    texts : sequence of str
        The texts.
    n_tokens : int
        Largest number of tokens in all pieces together.
    longest : int
        Largest number of tokens in one pass, special tokens included.
    skip : int
        Number of tokens at the start of the texts that are left out.

    Yields
    ------
    Piece
        The pieces in the order of the texts. Causal pieces have at least two tokens.
    """
    passed = 0
    for text in texts:
        left_out, wanted = max(0, skip - passed), skip + n_tokens - passed
        if wanted <= 0 or n_tokens == 0:
            return
        encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
        ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
        if 0 not in special:  # an empty line
            continue
        first, last = special.index(0), len(special) - special[::-1].index(0)
        before, after = (ids[:first], ids[last:]) if family == "masked" else ([], [])
        inside = ids[first:last][left_out:wanted]
        size = max(2, min(longest, n_tokens) - len(before) - len(after))
        for start in range(0, len(inside) - 1, size):
            part = inside[start : start + size]
            if family == "masked" or len(part) > 1:
                yield Piece(before=tuple(before), inside=tuple(part), after=tuple(after), passed=passed)
        passed += last - first


def _masked(piece: Piece, mask: int) -> list[Target]:
    start, unmasked = len(piece.before), piece.ids
    first = start + (_MASKED_EVERY // 2 - piece.passed) % _MASKED_EVERY
    masked_positions = range(first, start + len(piece.inside), _MASKED_EVERY)
    ids = tuple(mask if position in masked_positions else token for position, token in enumerate(unmasked))
    return [Target(ids=ids, position=position, token=unmasked[position]) for position in masked_positions]
