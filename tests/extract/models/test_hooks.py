"""No hook outlives its block, whatever happens inside."""

from __future__ import annotations

import pytest
import torch

from qloc.extract.models.hooks import hooked, without_head


def test_hooks_are_gone_after_an_exception() -> None:
    layers = [torch.nn.Linear(2, 2) for _ in range(3)]
    with (
        pytest.raises(ZeroDivisionError),
        hooked(
            forward_pre={layers[0]: lambda *_: None},
            forward_pre_kwargs={layers[1]: lambda *_: None},
            forward={layers[2]: lambda *_: 1 / 0},
        ),
    ):
        layers[2](torch.zeros(1, 2))
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in layers)


def test_head_gets_no_rows_and_its_input_is_kept() -> None:
    head = torch.nn.Linear(3, 5)
    given = torch.randn(2, 4, 3)
    with without_head(head) as kept:
        assert head(given).shape == (0, 4, 5)
    assert kept[0] is given
    assert head(given).shape == (2, 4, 5)
