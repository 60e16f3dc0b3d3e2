"""Recorded attention against what transformers itself returns; nothing registered is left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from qloc.extract.passes.attention import (
    attending,
    attention_of_all,
    mass_without_sink,
    recorded_attention,
    recording,
    why_not_recorded,
)
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
def test_recorded_attention_is_that_of_eager(plain_rows: Any, kind: str) -> None:
    model = plain_rows(kind, "float32")[0].model
    targets = [
        Target(ids=tuple(range(start, start + 7)), position=p, token=9) for start, p in ((10, 6), (40, 6))
    ]
    assert why_not_recorded(model, targets[0], 3) == ""
    found = recorded_attention(model, targets, n_tokens=9)
    for row, target in enumerate(targets):
        weights = _weights_of_eager(model, target).astype(np.float64)
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


def test_causal_attention_looks_at_nothing_ahead(plain_rows: Any) -> None:
    """The trap: a function registered alone is given no causal mask."""
    model = plain_rows("gpt2", "float32")[0].model
    with recording(model) as kept, torch.no_grad():
        model(input_ids=torch.tensor([[5, 6, 7, 8]]))
        assert all(float(weights.triu(1).abs().max()) == 0 for weights in kept)


def test_everything_is_as_before_after_an_exception(plain_rows: Any) -> None:
    model = plain_rows("gpt2", "float32")[0].model
    before = model.config._attn_implementation
    registries = AttentionInterface._global_mapping, AttentionMaskInterface._global_mapping
    names = [set(registry) for registry in registries]
    with recording(model):
        assert all(len(set(registry) - own) == 1 for registry, own in zip(registries, names, strict=True))
    with pytest.raises(ZeroDivisionError), recording(model):
        raise ZeroDivisionError
    assert model.config._attn_implementation == before
    assert [set(registry) for registry in registries] == names


def test_a_family_that_ignores_the_registry_is_told_apart(plain_rows: Any) -> None:
    model = plain_rows("gpt2", "float32")[0].model
    reason = why_not_recorded(model, Target(ids=(5, 6, 7), position=2, token=8), n_layers=5)
    assert reason == "gpt2 called the registered attention function 3 times for 5 layers"


def test_changed_weights_are_what_the_model_goes_on_with(plain_rows: Any) -> None:
    """Every token attends to the first one only: then no other token matters to the last."""
    model = plain_rows("gpt2", "float32")[0].model
    shapes: list[tuple[int, ...]] = []

    def first_only(weights: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(weights.shape))
        changed = torch.zeros_like(weights)
        changed[..., 0] = 1
        return changed

    ids = torch.tensor([[5, 6, 7, 8], [5, 16, 17, 8]])
    with torch.no_grad():
        own = model(input_ids=ids).logits[:, -1]
        with attending(model, first_only):
            changed = model(input_ids=ids).logits[:, -1]
    assert shapes == [(2, 4, 4, 4)] * 3
    torch.testing.assert_close(changed[0], changed[1], rtol=0, atol=1e-4)
    assert float((own[0] - own[1]).abs().max()) > 1e-2


def test_targets_of_any_lengths_are_recorded_as_alone(
    plain_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = plain_rows("gpt2", "float32")[0].model
    targets = [Target(ids=tuple(range(9, 9 + n)), position=n - 1, token=9) for n in (5, 3, 5)]
    sizes = {"layer": 3, "head": 4, "token": 6}
    whole = attention_of_all(model, targets, sizes)
    assert whole["length"].tolist() == [5, 3, 5]
    for row, target in enumerate(targets):
        alone = recorded_attention(model, [target], 6)
        for name, values in alone.items():
            # float16 keeps three digits
            np.testing.assert_allclose(whole[name][row], values[0], rtol=2e-3, atol=1e-4)
    monkeypatch.setattr("qloc.extract.passes.attention._BATCH_BYTES", 1)
    for name, values in attention_of_all(model, targets, sizes).items():
        np.testing.assert_allclose(values, whole[name], rtol=2e-3, atol=1e-4)


def test_masses_without_the_first_token_by_hand() -> None:
    """The second token attends to the first alone, so that nothing of it is left."""
    weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.6, 0.1, 0.3]])[None, None]
    found = mass_without_sink(weights)
    torch.testing.assert_close(found, torch.tensor([[[torch.nan, 0.25, 0.75]]]), equal_nan=True)
