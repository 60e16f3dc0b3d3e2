"""Attribution to the inputs of activation functions, against autograd on the plain model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from qloc.errors import InputError
from qloc.extract.attribution.pre_activation import before_activation
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.signals.extraction import Extraction

ACTIVATION = {"gpt2": "mlp.act", "llama": "mlp.act_fn", "bert": "intermediate.intermediate_act_fn"}


@pytest.mark.parametrize("kind", list(ACTIVATION))
def test_before_the_activation_function(
    study: Callable[..., Extraction], plain: Any, usual: Any, close: Any, kind: str
) -> None:
    made = study(kind, site="mlp_pre", quadrature="gauss", answer_tokens="first")
    block, loaded, tokenizer = made.extract(made.outline.units[0]), made.loaded, made.source.tokenizer
    acts = [layer.get_submodule(ACTIVATION[kind]) for layer in loaded.sites.blocks]
    assert list(made.engine.inputs) == acts
    assert (made.outline.attrs["site"], made.fingerprint["parameters"]["site"]) == ("mlp_pre", "mlp_pre")
    token = tokenizer.mask_token_id if kind == "bert" else tokenizer.eos_token_id
    one_prompt = plain(loaded.model, acts, made.asking.asked[1][0].targets[0])
    specials, relation = set(tokenizer.all_special_ids), usual(made, 1, acts)
    expected = one_prompt.by_definition(quadrature("gauss", 2), token, specials, relation)
    close(block.activation[3], one_prompt.vectors())
    for number, name in enumerate(made.plan.methods):
        close(block.attribution[number, 3], expected[name][0])
        np.testing.assert_allclose(block.completeness_gap[number, 3], expected[name][1], rtol=1e-5, atol=1e-7)


def test_layers_that_are_not_asked_for_have_no_mean_gradient(engine_of: Any) -> None:
    _, engine, targets = engine_of("llama", "float64")
    other = before_activation(engine, targets[0])
    weights = torch.tensor([[0.25, 0.75]])

    def points(_: int, z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z * 0.5, z])

    every, one = (other.paths(targets[:1], points, weights, layers) for layers in (None, [1]))
    assert bool((one.mean_gradient[:, :, [0, 2]] == 0).all())
    torch.testing.assert_close(one.mean_gradient[:, :, 1], every.mean_gradient[:, :, 1], rtol=0, atol=1e-12)
    torch.testing.assert_close(one.activation, every.activation, rtol=0, atol=0)


def test_a_site_that_cannot_be_found_is_refused_by_name(fresh_study: Callable[..., Extraction]) -> None:
    refusal = (
        "model type is 'gpt2 at site mlp_pre'; expected one whose blocks call one activation function f, as a "
        "module, and then the down-projection of f(z) ⊙ u. At qloc extract --site. Use --site mlp_post."
    )
    for broken in ("two functions", "a sum"):
        made = fresh_study("gpt2", site="mlp_pre")
        mlp: Any = made.loaded.sites.blocks[1].mlp
        if broken == "two functions":
            mlp.act = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Tanh())
        else:
            mlp.c_proj.register_forward_pre_hook(lambda _, args: (args[0] + 0.5,))
        with pytest.raises(InputError) as caught:
            _ = made.engine
        assert str(caught.value) == refusal
