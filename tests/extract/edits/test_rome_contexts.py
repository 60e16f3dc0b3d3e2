"""Texts that a model writes itself: the same by seed, drawn by probability."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from qloc.extract.edits.rome import Rome
from qloc.extract.edits.rome_contexts import _drawn, own_words


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_own_words_are_drawn_once_and_for_all(kind: str, rome_of: Callable[..., Rome]) -> None:
    rome = rome_of(kind)
    first, again, other = (own_words(rome.engine, rome.encoder, 3, 4, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert 1 <= len(first) <= 3
    assert own_words(rome.engine, rome.encoder, 0, 4, 1) == ()
    assert rome.prefixes[0] == ""
    assert all(prefix.endswith(". ") for prefix in rome.prefixes[1:])


def test_words_are_drawn_by_probability_among_the_likeliest() -> None:
    """20,000 draws: a share's standard error is at most 0.0035."""
    logits = torch.tensor([[0.0, 2.0, -9.0, 1.0, 1.5, 0.5, -1.0]])
    drawn = _drawn(logits.repeat(20_000, 1), np.random.default_rng(0))
    share = torch.bincount(drawn, minlength=7) / 20_000
    kept = torch.tensor([0, 1, 3, 4, 5])
    assert share[[2, 6]].sum() == 0
    torch.testing.assert_close(share[kept], logits[0, kept].softmax(0), atol=0.015, rtol=0)
