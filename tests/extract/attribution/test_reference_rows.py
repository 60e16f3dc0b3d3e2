"""The oracle itself, against autograd on one pass for each layer and node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qloc.extract.attribution.quadrature import Quadrature, quadrature
from qloc.extract.attribution.reference_rows import full_rows


def _path(_: int, activation: Tensor) -> Tensor:
    return torch.cat([activation * 0.25, activation * 0.5])


def _node(alpha: float) -> Quadrature:
    """A rule of one node."""
    rule = quadrature("right", 1)
    return replace(rule, nodes=rule.nodes * alpha)


# Llama's RMSNorm computes in float32 whatever the model's type, and rounds as its kernel of the machine does.
FLOAT32_NORM = 1e-6


@pytest.mark.parametrize(("kind", "against"), [("gpt2", None), ("gpt2", 17), ("llama", None), ("bert", 17)])
def test_every_number_is_that_of_single_passes(
    engine_of: Any, plain: Any, close: Any, kind: str, against: int | None
) -> None:
    loaded, _, targets = engine_of(kind, "float64")
    target = replace(targets[1], against=against)
    found = full_rows(loaded.model, loaded.sites, target, _path, [0, 1, 2])
    one_prompt = plain(loaded.model, list(loaded.sites.downs), target)
    w = one_prompt.vectors()
    rounding, of_probability = (FLOAT32_NORM, FLOAT32_NORM) if kind == "llama" else (1e-10, 1e-9)
    quarter, half, whole = (one_prompt.gradients(torch.zeros_like(w), _node(a)) for a in (0.25, 0.5, 1.0))
    close(found.activation[0], w)
    close(found.gradient[0], whole, rounding)
    for layer in range(3):
        close(found.row_gradient[layer], torch.stack([quarter[layer], half[layer]]), rounding)
    assert torch.equal(found.own_gradient, found.gradient)
    with torch.no_grad():
        for layer, p in found.row_probability.items():
            nodes = [one_prompt.probability(layer, a * w[layer]) for a in (0.25, 0.5)]
            close(p, torch.tensor(nodes, dtype=torch.float64), of_probability)
        close(found.probability[0], one_prompt.probability(0, w[0]), of_probability)
        states = loaded.model(input_ids=torch.tensor([target.ids]), output_hidden_states=True).hidden_states
    if kind != "bert":  # whose head transforms the last hidden state before the output embedding
        close(found.hidden[0], states[-1][0, target.position])


def test_layers_that_are_not_asked_for_have_no_rows(engine_of: Any) -> None:
    loaded, _, targets = engine_of("gpt2", "float64")
    every, one = (
        full_rows(loaded.model, loaded.sites, targets[0], _path, layers) for layers in ([0, 1, 2], [1])
    )
    assert not bool(one.gradient[:, [0, 2]].any())
    assert torch.equal(one.gradient[:, 1], every.gradient[:, 1])
    assert (list(one.row_gradient), list(one.row_probability)) == ([1], [1])
    assert torch.equal(one.row_gradient[1], every.row_gradient[1])
    assert torch.equal(one.activation, every.activation)


def test_numbers_are_float32_at_least(engine_of: Any) -> None:
    loaded, _, targets = engine_of("llama", "bfloat16")
    found = full_rows(loaded.model, loaded.sites, targets[0], _path, [1])
    parts = [getattr(found, name) for name in ("activation", "gradient", "own_gradient", "probability")]
    parts += [found.row_gradient[1], found.row_probability[1]]
    assert {part.dtype for part in parts} == {torch.float32}


def test_no_hook_stays_after_an_error(engine_of: Any) -> None:
    loaded, _, targets = engine_of("gpt2", "float64")

    def hooks() -> int:  # transformers leaves its own on a model once asked for hidden states
        modules = loaded.model.modules()
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)

    before = hooks()

    def fail(_: int, activation: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        full_rows(loaded.model, loaded.sites, targets[0], fail, [1])
    assert hooks() == before
