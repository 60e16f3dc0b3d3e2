"""One restoration a pass is what plain hooks on named modules give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.tracing.plain_passes import restored_once
from qloc.extract.tracing.states import clean_states

POSITIONS, TARGET = np.array([2, 5, 8]), 8


@pytest.mark.parametrize(
    ("part", "path"), [("residual", ""), ("mlp", "mlp.c_proj"), ("attention", "attn.c_proj")]
)
@pytest.mark.parametrize(("layers", "number"), [(range(1, 2), 0), (range(2), 1)])
def test_a_window_of_layers_is_restored_at_one_position(
    written_out: Any, part: Any, path: str, layers: range, number: int
) -> None:
    model, position = written_out.loaded.model, int(POSITIONS[number])
    clean = clean_states(model, written_out.traced, written_out.clean, POSITIONS, TARGET)
    found = restored_once(
        model, written_out.traced, written_out.corrupted, clean, part, layers, (position, number), TARGET
    )
    modules = {layer: model.transformer.h[layer].get_submodule(path) for layer in layers}
    kept: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(_: Any, args: Any, output: Any) -> None:
            kept[layer] = (output[0] if isinstance(output, tuple) else output)[0, position].clone()

        return hook

    def put(layer: int) -> Any:
        def hook(_: Any, args: Any, output: Any) -> None:
            (output[0] if isinstance(output, tuple) else output)[:, position] = kept[layer]  # in place

        return hook

    for hooks, prompts in ((keep, written_out.clean), (put, written_out.corrupted)):
        handles = [module.register_forward_hook(hooks(layer)) for layer, module in modules.items()]
        _, final = written_out.states(prompts)
        for handle in handles:
            handle.remove()
    torch.testing.assert_close(found, final[:, TARGET])
    corrupted = written_out.states(written_out.corrupted)[1][:, TARGET]
    assert float((found - corrupted).abs().max()) > 1e-4  # it does something


def test_nothing_restored_is_the_corrupted_pass_and_all_of_the_target_the_clean_one(written_out: Any) -> None:
    model, prompts = written_out.loaded.model, written_out.corrupted
    clean = clean_states(model, written_out.traced, written_out.clean, POSITIONS, TARGET)

    def run(layers: range, number: int) -> torch.Tensor:
        place = (int(POSITIONS[number]), number)
        return restored_once(model, written_out.traced, prompts, clean, "residual", layers, place, TARGET)

    torch.testing.assert_close(run(range(0), 2), written_out.states(prompts)[1][:, TARGET])
    torch.testing.assert_close(run(range(2, 3), 2), clean.final.expand(2, -1))
