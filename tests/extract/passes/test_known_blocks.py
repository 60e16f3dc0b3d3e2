"""Blocks that return what they returned before: the model's output is the same, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from qloc.extract.passes.known_blocks import known_blocks


def test_every_family_gives_the_same_with_its_first_blocks_known(families: dict[str, Any]) -> None:
    for name, family in families.items():
        model, blocks = family.loaded.model, list(family.loaded.sites.blocks)
        lower = blocks[: len(blocks) // 2]
        if len(set(blocks)) < len(blocks):
            continue  # one block for all layers, which has no output of its own
        ids = torch.tensor([family.targets()[1].ids])
        with torch.no_grad(), _outputs(lower) as outputs:
            expected = model(input_ids=ids).logits
        with torch.no_grad():
            with known_blocks(lower, outputs):
                inside = next(part for part in lower[0].modules() if part is not lower[0])
                handle = inside.register_forward_pre_hook(_fail)
                for _ in range(2):  # what is known stays what it is
                    found = model(input_ids=ids).logits
                    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)
                handle.remove()
            assert not any("forward" in vars(block) for block in lower)


def test_a_forward_of_its_own_comes_back_after_an_error() -> None:
    block = torch.nn.Linear(1, 1).requires_grad_(False)
    own = block.forward
    block.forward = own  # type: ignore[method-assign]  # as accelerate does
    with pytest.raises(ZeroDivisionError), known_blocks([block], [torch.zeros(1)]):
        1 / int(block(torch.ones(1)))  # what is known is zero
    assert vars(block)["forward"] == own


@contextmanager
def _outputs(blocks: list[nn.Module]) -> Iterator[list[Any]]:
    kept: list[Any] = []
    handles = [block.register_forward_hook(lambda *call: kept.append(call[2])) for block in blocks]
    yield kept
    for handle in handles:
        handle.remove()


def _fail(*_: Any) -> None:
    raise AssertionError("a known block computes")
