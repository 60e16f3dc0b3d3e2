"""Which families have a norm behind their MLP."""

from __future__ import annotations

from typing import Any

import torch

from qloc.extract.models.norm_behind import norm_behind_mlp

WITH_NORM = {"gemma2", "gemma3", "gemma3_text", "glm4", "olmo2", "olmo3"}


def test_families_with_a_norm_behind_the_mlp(families: dict[str, Any]) -> None:
    found = set()
    for name, family in families.items():
        loaded = family.loaded
        if norm_behind_mlp(loaded.model, loaded.sites, family.targets()[1]):
            found.add(name)
    assert {name.split()[0] for name in found} == WITH_NORM


def test_nothing_is_left_behind(families: dict[str, Any]) -> None:
    loaded, target = families["gpt2"].loaded, families["gpt2"].targets()[1]
    ids = torch.tensor([target.ids])
    with torch.no_grad():
        before = loaded.model(input_ids=ids).logits
        assert not norm_behind_mlp(loaded.model, loaded.sites, target)
        assert torch.equal(loaded.model(input_ids=ids).logits, before)
    assert not any(module._forward_hooks for module in loaded.model.modules())
