"""The oracle itself, against autograd on one pass for each layer and node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qloc.extract.attribution.quadrature import Quadrature, quadrature
from qloc.extract.attribution.reference_rows import full_rows

WEIGHTS = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64)


def _path(_: int, activation: Tensor) -> Tensor:
    return torch.stack([activation * 0.25, activation * 0.5])


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
    found = full_rows(loaded.model, loaded.sites, target, _path, WEIGHTS, [0, 1, 2])
    one_prompt = plain(loaded.model, list(loaded.sites.downs), target)
    w = one_prompt.vectors()
    rounding, of_probability = (FLOAT32_NORM, FLOAT32_NORM) if kind == "llama" else (1e-10, 1e-9)
    quarter, half, whole = (one_prompt.gradients(torch.zeros_like(w), _node(a)) for a in (0.25, 0.5, 1.0))
    close(found.activation[0], w)
    close(found.gradient[0], whole, rounding)
    close(found.mean_gradient[:, 0], torch.stack([0.25 * quarter + 0.75 * half, quarter]), rounding)
    with torch.no_grad():
        nodes = [[one_prompt.probability(n, a * w[n]) for n in range(3)] for a in (0.25, 0.5)]
        close(found.node_probability[:, 0], torch.tensor(nodes, dtype=torch.float64), of_probability)
        close(found.probability[0], one_prompt.probability(0, w[0]), of_probability)
        states = loaded.model(input_ids=torch.tensor([target.ids]), output_hidden_states=True).hidden_states
    if kind != "bert":  # whose head transforms the last hidden state before the output embedding
        close(found.hidden[0], states[-1][0, target.position])


def test_layers_that_are_not_asked_for_are_zero(engine_of: Any) -> None:
    loaded, _, targets = engine_of("gpt2", "float64")
    every, one = (
        full_rows(loaded.model, loaded.sites, targets[0], _path, WEIGHTS, layers)
        for layers in ([0, 1, 2], [1])
    )
    for name in ("gradient", "mean_gradient"):
        ours, theirs = getattr(one, name), getattr(every, name)
        assert not bool(ours[..., [0, 2], :].any())
        assert torch.equal(ours[..., 1, :], theirs[..., 1, :])
    assert torch.equal(one.activation, every.activation)
    assert not bool(one.node_probability[:, :, [0, 2]].any())


def test_numbers_are_float32_at_least(engine_of: Any) -> None:
    loaded, _, targets = engine_of("llama", "bfloat16")
    found = full_rows(loaded.model, loaded.sites, targets[0], _path, WEIGHTS, [1])
    names = ("activation", "gradient", "mean_gradient", "probability", "node_probability")
    assert {getattr(found, name).dtype for name in names} == {torch.float32}


def test_no_hook_stays_after_an_error(engine_of: Any) -> None:
    loaded, _, targets = engine_of("gpt2", "float64")

    def hooks() -> int:  # transformers leaves its own on a model once asked for hidden states
        modules = loaded.model.modules()
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)

    before = hooks()

    def fail(_: int, activation: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        full_rows(loaded.model, loaded.sites, targets[0], fail, WEIGHTS, [1])
    assert hooks() == before
