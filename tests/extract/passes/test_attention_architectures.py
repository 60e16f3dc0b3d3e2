"""Attention weights of every family: recorded exactly, or left out with the reason."""

from __future__ import annotations

import re
from typing import Any

import torch

from qloc.extract.passes.attention import recording, why_not_recorded


def test_attention_is_recorded_or_left_out_with_the_reason(family: Any) -> None:
    loaded = family.loaded
    model, target, n_layers = loaded.model, family.targets()[1], loaded.sites.n_layers
    reason = why_not_recorded(model, target, n_layers)
    if not family.attention:
        expected_reason = r"[a-z0-9_-]+ called the registered attention function [01] times for [34] layers"
        assert re.fullmatch(expected_reason, reason)
        return
    assert reason == ""
    ids, before = torch.tensor([target.ids]), model.config._attn_implementation
    with torch.no_grad(), recording(model) as kept:
        model(input_ids=ids)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(input_ids=ids, output_attentions=True).attentions
    model.set_attn_implementation(before)
    assert int(model.config.get_text_config().num_attention_heads) == 4
    for ours, theirs in zip(kept, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=1e-5)  # softmax in float32
