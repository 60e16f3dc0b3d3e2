"""Recorded attention against what transformers itself returns; nothing registered is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from qloc.extract.models.loading import source
from qloc.extract.passes.attention import recorded_attention, recording, why_not_recorded
from qloc.extract.prompts.tokenizing import Target


def _weights_of_eager(model: Any, target: Target) -> np.ndarray:
    """(layer, head, token, token), as transformers gives it with output_attentions."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = model(input_ids=torch.tensor([target.ids]), output_attentions=True).attentions
    model.set_attn_implementation(before)
    return torch.cat(found).numpy()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "gpt_neox", "bert"])
def test_recorded_attention_is_that_of_eager(tiny: Callable[[str], Any], kind: str) -> None:
    loaded = source(str(tiny(kind).folder)).load(dtype="float32", device="cpu")
    targets = [
        Target(ids=tuple(range(start, start + 7)), position=p, token=9) for start, p in ((10, 6), (40, 6))
    ]
    assert why_not_recorded(loaded.model, targets[0], 3) == ""
    found = recorded_attention(loaded.model, targets, n_tokens=9)
    for row, target in enumerate(targets):
        weights = _weights_of_eager(loaded.model, target).astype(np.float64)
        inner = weights[..., 1:, 1:]
        total = inner.sum(-1, keepdims=True)
        no_sink = np.divide(inner, total, out=np.zeros_like(inner), where=total > 0).sum(2)
        expected = {"target_row": weights[:, :, 6], "column_mass": weights.sum(2)}
        for name, values in expected.items():
            # float16 keeps three digits
            np.testing.assert_allclose(found[name][row, :, :, :7], values, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(
            found["column_mass_no_sink"][row, :, :, 1:7], no_sink, rtol=2e-3, atol=1e-4
        )
        assert np.isnan(found["column_mass_no_sink"][row, :, :, 0]).all()
        assert np.isnan(found["target_row"][row, :, :, 7:]).all()
    assert found["length"].tolist() == [7, 7]


def test_causal_attention_looks_at_nothing_ahead(tiny: Callable[[str], Any]) -> None:
    """The trap: a function registered alone is given no causal mask."""
    model = source(str(tiny("gpt2").folder)).load(dtype="float32", device="cpu").model
    with recording(model) as kept, torch.no_grad():
        model(input_ids=torch.tensor([[5, 6, 7, 8]]))
        assert all(float(weights.triu(1).abs().max()) == 0 for weights in kept)


def test_everything_is_as_before_after_an_exception(tiny: Callable[[str], Any]) -> None:
    model = source(str(tiny("gpt2").folder)).load(dtype="float32", device="cpu").model
    before = model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), recording(model):
        raise ZeroDivisionError
    assert model.config._attn_implementation == before
    assert "qloc_recorded" not in AttentionInterface._global_mapping
    assert "qloc_recorded" not in AttentionMaskInterface._global_mapping


def test_a_family_that_ignores_the_registry_is_told_apart(tiny: Callable[[str], Any]) -> None:
    model = source(str(tiny("gpt2").folder)).load(dtype="float32", device="cpu").model
    reason = why_not_recorded(model, Target(ids=(5, 6, 7), position=2, token=8), n_layers=5)
    assert reason == "gpt2 called the registered attention function 3 times for 5 layers"
