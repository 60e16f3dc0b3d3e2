"""The growing rows against brute force: one full forward and backward for each layer and node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from qloc.extract.attribution.engine import GradientEngine, proved
from qloc.extract.attribution.path_integrals import ScaledPath, integrals
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.models.loading import LoadedModel, source
from qloc.extract.prompts.tokenizing import Target

KINDS = ("gpt2", "llama", "qwen2", "mistral", "gpt_neox", "bert")
JOINS = {"bert": "token"}


def _engine(tiny: Any, dtype: str, memory: int = 10**9) -> tuple[LoadedModel, GradientEngine, list[Target]]:
    found = source(str(tiny.folder))
    loaded, encoder = found.load(dtype=dtype, device="cpu"), found.encoder()
    asked = [encoder.ask(query, fact.object) for fact in tiny.facts.facts for query in fact.queries]
    targets = [target for one in asked if not isinstance(one, str) for target in one.targets]
    engine = GradientEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=memory)
    return loaded, proved(engine, targets), targets


@pytest.mark.parametrize("kind", KINDS)
def test_attribution_equals_brute_force(
    tiny: Callable[[str], Any], scores_of: Any, brute_force: Any, kind: str
) -> None:
    loaded, engine, targets = _engine(tiny(kind), "float64")
    assert engine.kind == JOINS.get(kind, "after")
    rule = quadrature("right", 3)  # its last node is the unpatched pass
    ours, _ = scores_of(engine, targets, ScaledPath.of(rule))
    for target, found in list(zip(targets, ours, strict=True))[::3]:
        expected = brute_force(loaded, target, rule.nodes.tolist())
        # float64 rounding over three layers; RMSNorm of transformers computes in float32, in both ways alike
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("kind", "join", "cut"),
    [
        ("gpt2", "after", False),
        ("gpt2", "before", False),
        ("bert", "after", True),
        ("bert", "token", True),
        ("bert", "before", True),
        ("bert", "before", False),
    ],
)
def test_every_way_that_holds_gives_the_same(
    tiny: Callable[[str], Any], scores_of: Any, kind: str, join: Any, cut: bool
) -> None:
    _, engine, targets = _engine(tiny(kind), "float64")
    path = ScaledPath.of(quadrature("midpoint", 2))
    expected, _ = scores_of(replace(engine, kind="full"), targets[:4], path)
    ours, _ = scores_of(replace(engine, kind=join, cut=cut), targets[:4], path)
    if (kind, join) == ("bert", "after"):  # its layer norm stands behind the residual sum: not affine
        assert not torch.allclose(ours, expected, rtol=1e-3)
    else:
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_results_do_not_depend_on_neighbors_order_or_memory(
    tiny: Callable[[str], Any], scores_of: Any, kind: str, dtype: str, tolerance: float
) -> None:
    """Sums over other shapes round otherwise: 1e-9 and 1e-4 of the largest are far above that."""
    _, engine, targets = _engine(tiny(kind), dtype)
    path, targets = ScaledPath.of(quadrature("midpoint", 3)), targets[::3]
    together, _ = scores_of(engine, targets, path)
    scale = tolerance * float(together.abs().max())
    alone = torch.cat([scores_of(engine, [target], path)[0] for target in targets])
    backwards, _ = scores_of(engine, targets[::-1], path)
    tight = replace(engine, memory=40_000)
    assert len(tight._layer_groups(8, 4, range(3))) > 1
    split, _ = scores_of(tight, targets, path)
    for other in (alone, backwards.flip(0), split):
        torch.testing.assert_close(other, together, rtol=0, atol=scale)


def test_what_runs_at_the_target_alone_is_not_computed_elsewhere(tiny: Callable[[str], Any]) -> None:
    """Products of the last block, (rows · positions) and of all others: counted, not timed."""
    _, engine, targets = _engine(tiny("bert"), "float32")
    path = ScaledPath.of(quadrature("midpoint", 4))
    rows = {}
    for cut, join in ((True, "token"), (False, "before")):
        seen: list[int] = []
        handles = [
            down.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0][..., 0].numel()))
            for down in engine.sites.downs
        ]
        list(integrals(replace(engine, kind=join, cut=cut), targets[:1], path))
        for handle in handles:
            handle.remove()
        rows[join] = seen
    length, new = len(targets[0].ids), len(path.passes[0].alphas)
    # Three layers. Each but the last: the rows there are as whole sequences, then those that join as tokens.
    assert rows["token"] == [length, new, (1 + new) * length, new, 1 + 3 * new]
    assert rows["before"] == [(1 + layers * new) * length for layers in (1, 2, 3)]


def test_completeness_gap_vanishes_with_nodes(tiny: Callable[[str], Any], scores_of: Any) -> None:
    _, engine, targets = _engine(tiny("gpt2"), "float64")
    gaps = [
        float(scores_of(engine, targets, ScaledPath.of(quadrature("midpoint", m)))[1].max())
        for m in (4, 32, 256)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-4


def test_a_model_that_breaks_the_rules_falls_back_to_the_oracle(
    tiny: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    loaded, engine, targets = _engine(tiny("gpt2"), "float64")
    block = loaded.sites.blocks[1]
    handle = block.register_forward_hook(
        lambda _, args, out: out + out.mean(0, keepdim=True)
    )  # rows see each other
    broken = proved(replace(engine, kind="after"), targets)
    handle.remove()
    assert broken.kind == "full"
    assert caplog.messages == [
        "growing rows do not hold on gpt2: every row runs the whole model, which takes about ten times longer"
    ]


def test_nothing_is_left_behind(tiny: Callable[[str], Any], scores_of: Any) -> None:
    loaded, engine, targets = _engine(tiny("llama"), "float32")
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    scores_of(engine, targets, ScaledPath.of(quadrature("midpoint", 2)))
    assert all(torch.equal(before[name], weight) for name, weight in loaded.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
    assert all(weight.grad is None for weight in loaded.model.parameters())
