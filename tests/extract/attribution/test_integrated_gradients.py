"""Where paths are evaluated, by hand; and doubled nodes against the rule of as many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified
from qloc.extract.attribution.integrated_gradients import (
    MOST_DOUBLINGS,
    Nodes,
    PathIntegral,
    ScaledPath,
    completeness_gap,
    integrals,
    path_of,
)
from qloc.extract.attribution.quadrature import clenshaw_curtis, quadrature
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.signals.extraction import Extraction
from qloc.plan import Plan


def test_points_lie_between_start_and_activation() -> None:
    nodes = Nodes(alphas=(0.0, 0.25), weights=((0.0, 1.0),))
    activation = torch.tensor([[4.0, 8.0], [0.0, -4.0]])
    from_zero = nodes.points(None)(1, activation)
    assert from_zero.tolist() == [[[0, 0], [0, 0]], [[1, 2], [0, -1]]]
    start = torch.zeros(2, 3, 2)
    start[:, 1] = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    from_start = nodes.points(start)(1, activation)
    assert from_start.tolist() == [[[0, 4], [4, 0]], [[1, 5], [3, -1]]]


def test_points_are_float32_at_least() -> None:
    nodes = Nodes(alphas=(1 / 3,), weights=((1.0,),))
    for dtype, wide in (("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")):
        activation = torch.ones(1, 2, dtype=getattr(torch, dtype))
        for start in (None, torch.zeros(1, 1, 2, dtype=getattr(torch, dtype))):
            found = nodes.points(start)(0, activation)
            assert found.dtype == getattr(torch, wide)
            torch.testing.assert_close(found, torch.full((1, 1, 2), 1 / 3, dtype=found.dtype))


def test_the_unpatched_pass_serves_as_the_last_node() -> None:
    path = ScaledPath.of(quadrature("right", 4))
    assert path.passes == (Nodes(alphas=(0.0, 0.25, 0.5, 0.75), weights=((0.0, 0.25, 0.25, 0.25),)),)
    assert path.at_one == (0.25,)
    ends = ScaledPath.of(quadrature("endpoints", 3))
    assert ends.passes[0].alphas == (0.0, 0.5)  # α = 0 is there once
    assert list(ends.at_one) == pytest.approx([1 / 3])
    assert ScaledPath.of(quadrature("midpoint", 2)).at_one == (0.0,)


def test_levels_together_are_clenshaw_curtis_rules() -> None:
    path = ScaledPath.doubling(2, 0.01)
    assert (len(path.passes), path.tolerance) == (MOST_DOUBLINGS + 1, 0.01)
    for level in range(MOST_DOUBLINGS + 1):
        rule = clenshaw_curtis(2 * 2**level)
        own = {1.0: path.at_one[level]}
        for earlier, nodes in enumerate(path.passes[: level + 1]):
            own |= dict(zip(nodes.alphas, nodes.weights[level - earlier], strict=True))
        assert own == dict(zip(rule.nodes.tolist(), rule.weights.tolist(), strict=True))
    assert path.passes[0].weight_matrix().shape == (MOST_DOUBLINGS + 1, 2)
    assert path.passes[0].weight_matrix().dtype == torch.float64


def test_tolerance_is_not_below_rounding() -> None:
    plan = Plan(quadrature="adaptive", gap_tolerance=1e-4)
    wide, half = (path_of(plan, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert wide == ScaledPath.doubling(8, 1e-4)
    assert half == ScaledPath.doubling(8, 4 * 2**-7)
    assert path_of(Plan(quadrature="gauss", steps=5), torch.float32) == ScaledPath.of(quadrature("gauss", 5))
    exact = Plan(quadrature_error=1e-4, floor=0.1, quadrature_thresholds=(0.05, 0.2))
    for dtype in (torch.float32, torch.float16):
        assert path_of(exact, dtype) == Certified.named(1e-4, 0.1, 4, dtype, (0.2,))


def test_the_gap_by_hand() -> None:
    attribution = torch.tensor([[[1.0, 2.0], [1.0, -1.0], [0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]])
    change = torch.tensor([[3.0, 1.0, 0.0, 2.0, 4.0]])
    assert completeness_gap(attribution, change).tolist() == [[0.0, 0.5, 0.0, 1.0, 0.25]]


@pytest.mark.parametrize("kind", ["after", "full"])
def test_a_path_without_nodes_is_the_unpatched_pass(engine_of: Any, kind: Any) -> None:
    _, proved, targets = engine_of("gpt2", "float64")
    engine = replace(proved, kind=kind)
    ((indices, found),) = integrals(engine, targets[:1], ScaledPath.none())
    assert indices == [0]
    assert bool(found.start_probability.isnan().all())
    assert not bool(found.mean_gradient.any() or found.n_nodes.any())
    ((_, whole),) = integrals(engine, targets[:1], ScaledPath.of(quadrature("right", 1)))
    torch.testing.assert_close(found.gradient, whole.mean_gradient, rtol=0, atol=1e-12)


def test_a_path_may_start_anywhere(engine_of: Any, plain: Any, close: Any) -> None:
    loaded, engine, targets = engine_of("gpt2", "float64")
    one_prompt = plain(loaded.model, list(loaded.sites.downs), targets[2])
    start = one_prompt.vectors() * 0.5 + 0.1
    rule = quadrature("midpoint", 2)
    ((_, found),) = integrals(engine, [targets[2]], ScaledPath.of(rule), start[None])
    close(found.mean_gradient[0], one_prompt.gradients(start, rule))
    close(found.step[0], one_prompt.vectors() - start)
    close(found.change[0], one_prompt.changes(start), 1e-9)
    assert found.n_nodes.tolist() == [[3] * len(start)]  # two, and α = 0


# ---- nodes where they are needed


@pytest.fixture
def steep(study: Callable[..., Extraction]) -> Extraction:
    return study("gpt2", methods="ig", quadrature="adaptive", steps=1, gap_tolerance=1e-4)


def _integral(engine: GradientEngine, targets: list[Target], path: ScaledPath) -> PathIntegral:
    parts = list(integrals(engine, targets, path))
    order = torch.tensor([index for indices, _ in parts for index in indices]).argsort()
    columns: dict[str, Tensor] = {
        field.name: torch.cat([getattr(found, field.name) for _, found in parts])[order]
        for field in fields(PathIntegral)
    }
    return PathIntegral(**columns)


def test_doubled_nodes_give_the_rule_of_as_many(steep: Extraction) -> None:
    targets = [query.targets[0] for of_fact in steep.asking.asked for query in of_fact]
    found = _integral(steep.engine, targets, ScaledPath.doubling(1, 1e-4))
    counts = sorted(set(found.n_nodes.flatten().tolist()))
    assert len(counts) > 1  # some layers were doubled, others not
    assert set(counts) <= {2**level for level in range(MOST_DOUBLINGS + 1)}
    gaps = completeness_gap(found.step * found.mean_gradient, found.change)
    assert bool((gaps[found.n_nodes < 2**MOST_DOUBLINGS] <= 1e-4).all())
    for count in counts:
        fixed = _integral(steep.engine, targets, ScaledPath.of(clenshaw_curtis(count)))
        there = found.n_nodes == count
        torch.testing.assert_close(found.mean_gradient[there], fixed.mean_gradient[there], rtol=0, atol=1e-12)
        if count > 1:  # nowhere more than was needed
            halved = _integral(steep.engine, targets, ScaledPath.of(clenshaw_curtis(count // 2)))
            before = completeness_gap(halved.step * halved.mean_gradient, halved.change)
            assert bool((before[there] > 1e-4).all())


def test_every_way_doubles_alike(steep: Extraction) -> None:
    targets = [query.targets[0] for of_fact in steep.asking.asked for query in of_fact][:3]
    path = ScaledPath.doubling(1, 1e-4)
    grown = _integral(steep.engine, targets, path)
    full = _integral(replace(steep.engine, kind="full"), targets, path)
    assert torch.equal(grown.n_nodes, full.n_nodes)
    torch.testing.assert_close(grown.mean_gradient, full.mean_gradient, rtol=0, atol=1e-11)


def test_completeness_gap_vanishes_with_nodes(engine_of: Any, scores_of: Any) -> None:
    _, engine, targets = engine_of("gpt2", "float64")
    gaps = [
        float(scores_of(engine, targets[::8], ScaledPath.of(quadrature("midpoint", m)))[1].max())
        for m in (4, 32, 256)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-4
