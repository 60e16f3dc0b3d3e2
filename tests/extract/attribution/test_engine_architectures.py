"""Path gradients of every family: exact against brute force, in the way that is proved for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers as hf

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.attribution.integrated_gradients import ScaledPath
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.models.architectures import sites
from qloc.extract.models.loading import LoadedModel
from qloc.extract.prompts.tokenizing import Target

EXACT = 1e-9
"""float64 over three layers, where the two ways sum in other orders. RMSNorm and softmax compute in float32 in
many families, but on the same numbers in both ways, and so alike to the last bit."""


def engine_of(loaded: LoadedModel, targets: list[Target]) -> GradientEngine:
    engine = GradientEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    return proved(engine, targets)


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def test_attribution_equals_brute_force(
    family: Any, scores_of: Any, brute_force: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = family.loaded
    caplog.clear()  # what transformers says of a tiny configuration
    targets = family.targets()
    engine = engine_of(loaded, targets)
    assert engine.kind == family.join
    assert engine.cut == (family.masked and family.attention)  # what is recorded can be cut
    assert bool(caplog.messages) == (engine.kind == "full")  # a fallback is said, nothing else is
    rule = quadrature("right", 2)  # its last node is the unpatched pass
    path = ScaledPath.of(rule)
    together, _ = scores_of(engine, targets, path)
    for n in (0, 3, 5):
        expected = brute_force(loaded, targets[n], rule.nodes.tolist())
        assert float(expected.abs().max()) > 1e-6  # far above rounding
        close(together[n], expected, family.rounding or EXACT)
        close(scores_of(engine, [targets[n]], path)[0][0], together[n], EXACT)


def test_single_equals_batched_in_float32(family: Any, scores_of: Any) -> None:
    loaded = family.loaded
    targets, path = family.targets()[1:4], ScaledPath.of(quadrature("midpoint", 2))
    try:
        loaded.model.float()
        engine = engine_of(loaded, family.targets())
        assert engine.kind == family.join
        together, _ = scores_of(engine, targets, path)
        alone, _ = scores_of(engine, targets[1:2], path)
    finally:
        loaded.model.double()
    close(alone[0], together[1], 1e-4)


@pytest.mark.parametrize("kind", ["mistral window", "gemma2", "gpt_neo local", "bloom"])
def test_prompts_longer_than_those_of_the_proof(
    kind: str, families: dict[str, Any], scores_of: Any, brute_force: Any
) -> None:
    """Only then a window's mask is made, and given to blocks that were given none."""
    family = families[kind]
    loaded = family.loaded
    *_, one, two, long = family.targets()
    short = [replace(one, ids=one.ids[-3:], position=2), replace(two, ids=two.ids[-3:], position=2)]
    longer = [long, replace(long, ids=long.ids[::-1])]
    unproved = GradientEngine(model=loaded.model, sites=loaded.sites, family="causal", memory=10**9)
    rule = quadrature("right", 2)
    found, _ = scores_of(proved(unproved, short), longer, ScaledPath.of(rule))
    for ours, target in zip(found, longer, strict=True):
        close(ours, brute_force(loaded, target, rule.nodes.tolist()), family.rounding or EXACT)


def test_one_layer_that_differs_from_the_others_is_found(families: dict[str, Any]) -> None:
    """Behind block 3 of five nothing is affine any more; rows that join behind it would be grossly wrong."""
    torch.manual_seed(0)
    model = (
        hf.GPT2LMHeadModel(hf.GPT2Config(**{**families["gpt2"].config().to_dict(), "n_layer": 5}))
        .double()
        .eval()
        .requires_grad_(False)
    )
    loaded = LoadedModel(model=model, sites=sites(model), family="causal")
    targets = families["gpt2"].targets()
    assert engine_of(loaded, targets).kind == "after"
    handle = loaded.sites.blocks[3].register_forward_hook(lambda _, args, out: torch.tanh(out))
    assert engine_of(loaded, targets).kind == "before"
    handle.remove()


def test_numbers_that_are_not_finite_prove_nothing(
    families: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = families["gpt2"].loaded
    caplog.clear()
    handle = loaded.sites.blocks[1].register_forward_hook(
        lambda _, args, out: out * torch.nan if out.shape[1] == 1 else out  # in growing rows alone
    )
    assert engine_of(loaded, families["gpt2"].targets()).kind == "full"
    handle.remove()
    assert len(caplog.messages) == 1
