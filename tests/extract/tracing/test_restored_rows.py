"""Restored rows are one restoration a pass by plain hooks, in every family of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.tracing.proof import proved
from qloc.extract.tracing.restored_rows import Windows
from qloc.extract.tracing.states import Prompts

PROJECTIONS = {
    "gpt2": "attn.c_proj",
    "gptj": "attn.out_proj",
    "gpt_neox": "attention.dense",
    "llama": "self_attn.o_proj",
    "opt 350m": "self_attn.out_proj",
    "bert": "attention.output.dense",
    "albert": "attention.dense",
}
"""Sequential, parallel, gated, post-norm and shared layers; where attention writes, read from their code."""


def windows_of(n_layers: int) -> Windows:
    """Two layers of each part: of the residual stream the layer and the next, else it and the one below."""
    next_one = [range(layer, min(n_layers, layer + 2)) for layer in range(n_layers)]
    below = [range(max(0, layer - 1), layer + 1) for layer in range(n_layers)]
    return {"residual": next_one, "mlp": below, "attention": below}


def brute_force(
    loaded: Any,
    projection: str,
    ids: torch.Tensor,
    noise: torch.Tensor,
    part: str,
    window: range,
    position: int,
) -> torch.Tensor:
    """Final logits at every position, (token, vocabulary), of one corrupted prompt with one restoration.

    Plain hooks on named modules: nothing of the package but the paths of blocks and down-projections.
    """
    blocks, downs = loaded.sites.blocks, loaded.sites.downs
    modules = {
        "residual": blocks,
        "mlp": downs,
        "attention": [block.get_submodule(projection) for block in blocks],
    }[part]

    def run(noisy: bool, kept: dict[int, torch.Tensor] | None, restored: bool) -> torch.Tensor:
        calls = {"n": -1}

        def hook(_: Any, args: Any, output: Any) -> Any:
            calls["n"] += 1
            first = output[0] if isinstance(output, tuple) else output
            flat = first.reshape(len(ids), -1, first.shape[-1]).clone()
            if not restored and kept is not None:
                kept[calls["n"]] = flat[0, position].clone()
                return None
            if kept is None or calls["n"] not in window:
                return None
            flat[0, position] = kept[calls["n"]]
            changed = flat.view(first.shape)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        def add(_: Any, args: Any, output: torch.Tensor) -> torch.Tensor | None:
            return output + noise if noisy else None

        handles = [module.register_forward_hook(hook) for module in dict.fromkeys(modules)]
        handles.append(loaded.model.get_input_embeddings().register_forward_hook(add))
        try:
            with torch.no_grad():
                return loaded.model(input_ids=ids).logits[0]
        finally:
            for handle in handles:
                handle.remove()

    kept: dict[int, torch.Tensor] = {}
    run(False, kept, False)
    return run(True, kept, True)


def _log_odds(logits: torch.Tensor, token: int) -> float:
    others = torch.cat([logits[:token], logits[token + 1 :]])
    return float(logits[token] - others.logsumexp(0))


def _hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def engine_of(loaded: Any) -> RowEngine:
    return RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**8)


@pytest.mark.parametrize("name", list(PROJECTIONS))
def test_rows_equal_one_restoration_a_pass(families: Any, name: str) -> None:
    """float64; 1e-5 where a family computes norms, or products of queries and keys, in float32."""
    family, loaded = families[name], families[name].loaded
    n_layers, targets = loaded.sites.n_layers, family.targets()
    windows, target = windows_of(n_layers), targets[1]
    engine = proved(engine_of(loaded), targets[::5], windows)
    before = _hooks(loaded.model)
    ids, positions = torch.tensor([target.ids]), np.array([1, 3, target.position])
    drawn = torch.Generator().manual_seed(2)
    width = loaded.model.get_input_embeddings()(ids).shape[-1]
    noise = torch.zeros(2, ids.shape[1], width, dtype=torch.float64)
    noise[:, 1:3] = 10 * torch.randn(2, 2, width, generator=drawn, dtype=torch.float64)
    found = engine.trace(
        Prompts(ids=ids),
        Prompts(ids=ids.expand(2, -1), noise=noise),
        positions,
        (target.position, target.token),
        windows,
    )

    def plainly(part: str, window: range, place: int, prompt: int) -> float:
        logits = brute_force(loaded, PROJECTIONS[name], ids, noise[prompt], part, window, place)
        return _log_odds(logits[target.position], target.token)

    expected = np.array(
        [
            [
                [[plainly(part, window, place, prompt) for prompt in range(2)] for window in of_layers]
                for place in positions.tolist()
            ]
            for part, of_layers in windows.items()
        ]
    )
    corrupted = [plainly("mlp", range(0), 1, prompt) for prompt in range(2)]
    np.testing.assert_allclose(found.restored, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.corrupted, corrupted, rtol=0, atol=1e-5)
    assert np.abs(expected - np.array(corrupted)).max() > 1e-3  # restorations that do something
    assert found.restored[0, 2, -1] == pytest.approx(np.full(2, found.clean), abs=1e-5)  # all of the target
    assert _hooks(loaded.model) == before
