"""Positions behind beginnings of different lengths give what whole prompts give, or the cache is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from qloc.extract.passes.prompt_beginnings import Beginnings


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_what_follows_is_that_of_whole_prompts(
    tiny: Callable[[str], Any], plain_rows: Any, kind: str
) -> None:
    engine, _ = plain_rows(kind)
    model = engine.model
    ids = torch.arange(24).view(3, 8) * 7 % 200
    first, n = torch.tensor([0, 3, 5]), 3
    place = first[:, None] + torch.arange(n)
    with torch.no_grad():
        cache = DynamicCache(config=model.config)
        expected = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
        beginnings = Beginnings.of(cache, first, n)
        for _ in range(2):  # a pass does not change them
            found = model(**beginnings.inputs(model, ids.gather(1, place))).logits
            whole = expected.gather(1, place[:, :, None].expand(-1, -1, expected.shape[2]))
            # RMSNorm computes in float32
            torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert beginnings.there.tolist() == [[0] * 5, [0, 0, 1, 1, 1], [1] * 5]
    assert beginnings.position.tolist() == place.tolist()


def test_a_layer_that_forgets_is_refused() -> None:
    layers = [SimpleNamespace(keys=torch.zeros(1, 1, n, 2), values=torch.zeros(1, 1, n, 2)) for n in (8, 4)]
    with pytest.raises(ValueError, match="a layer does not keep every position"):
        Beginnings.of(SimpleNamespace(layers=layers), torch.tensor([3]), 2)
