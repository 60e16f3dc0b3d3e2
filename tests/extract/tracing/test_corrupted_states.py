"""The corrupted pass, and what a restoration makes of its first block, by GPT-2's blocks written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.passes.block_arguments import carried
from qloc.extract.tracing.corrupted_states import CorruptedStates, corrupted_states
from qloc.extract.tracing.states import States, clean_states

POSITIONS, TARGET = np.array([2, 5, 8]), 8


@pytest.fixture(scope="module")
def found(written_out: Any, families: Any) -> tuple[States, CorruptedStates]:
    loaded, traced = written_out.loaded, written_out.traced
    clean = clean_states(loaded.model, traced, written_out.clean, POSITIONS, TARGET)
    entries = carried(loaded.model, loaded.sites, "masked", families["gpt2"].targets()[::5])
    base = corrupted_states(loaded.model, traced, entries, written_out.corrupted, clean, POSITIONS, TARGET)
    return clean, base


def test_the_pass_itself_is_that_of_the_prompts_with_noise(written_out: Any, found: Any) -> None:
    _, base = found
    hidden, final = written_out.states(written_out.corrupted)
    torch.testing.assert_close(base.blocks, torch.stack(hidden[1:]))
    torch.testing.assert_close(base.final, final[:, TARGET])
    assert float((base.final[0] - base.final[1]).abs().max()) > 0.01  # two draws of noise


def test_a_restoration_changes_its_first_block_at_its_position_alone(written_out: Any, found: Any) -> None:
    """x + MLP(x), x = h + attention: with the clean attention in x, or the clean MLP behind it."""
    clean, base = found
    hidden, _ = written_out.states(written_out.corrupted)
    for layer in range(3):
        attention, mlp = written_out.halves(layer, hidden[layer])
        middle = hidden[layer] + attention
        for number, position in enumerate(POSITIONS.tolist()):
            x = hidden[layer][:, position] + clean.of_part["attention"][layer, number]
            expected = {
                "residual": clean.of_part["residual"][layer, number].expand(2, -1),
                "mlp": middle[:, position] + clean.of_part["mlp"][layer, number],
                "attention": x + written_out.mlp(layer, x),
            }
            for part, values in expected.items():
                torch.testing.assert_close(base.begun[part][layer][:, number], values)
            assert float((expected["mlp"] - middle[:, position] - mlp[:, position]).abs().max()) > 1e-3
