"""Certified quadrature against fixed rules of so many nodes that they have converged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qloc.extract.attribution import certified_quadrature
from qloc.extract.attribution.certified_quadrature import certified
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified, Owners
from qloc.extract.attribution.growing_rows import RowQueries
from qloc.extract.attribution.integrated_gradients import PathIntegral, ScaledPath, integrals
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.prompts.tokenizing import Target

ASKED = Certified(error=1e-4, floor=0.05)


def _in_order(engine: GradientEngine, targets: list[Target], path: Any, **given: Any) -> PathIntegral:
    parts = list(integrals(engine, targets, path, **given))
    order = torch.tensor([index for indices, _ in parts for index in indices]).argsort()
    names = PathIntegral.__dataclass_fields__
    return PathIntegral(**{n: torch.cat([getattr(part, n) for _, part in parts])[order] for n in names})


def _off(found: PathIntegral, exact: PathIntegral) -> tuple[Tensor, Tensor]:
    """The largest error of an attribution that reaches the floor, and the bound, of each target and layer."""
    ours, theirs = (one.step * one.mean_gradient for one in (found, exact))
    largest = theirs.amax((1, 2))
    near = theirs >= ASKED.floor * largest[:, None, None]
    off = torch.where(near, (ours - theirs).abs(), 0).amax(2)
    return off / largest[:, None], found.error / largest[:, None]


@pytest.fixture
def rough(engine_of: Any) -> Iterator[Callable[[str], tuple[GradientEngine, list[Target]]]]:
    """A model whose first layer writes most of the stream, so that its path has a sharp step; until the test ends."""
    before: list[tuple[Tensor, Tensor]] = []

    def build(kind: str) -> tuple[GradientEngine, list[Target]]:
        loaded, engine, targets = engine_of(kind, "float64")
        with torch.no_grad():
            for weight, factor in ((loaded.sites.downs[0].weight, 20), (loaded.sites.head.weight, 10)):
                before.append((weight, weight.clone()))
                weight.mul_(factor)
        return engine, targets[:3]

    yield build
    with torch.no_grad():
        for weight, values in before:
            weight.copy_(values)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert", "qwen2"])
def test_the_error_is_within_its_bound(
    rough: Callable[[str], tuple[GradientEngine, list[Target]]], kind: str
) -> None:
    engine, targets = rough(kind)
    found = _in_order(engine, targets, ASKED)
    exact, half = (_in_order(engine, targets, ScaledPath.of(quadrature("gauss", n))) for n in (256, 128))
    converged, _ = _off(half, exact)  # the reference itself
    off, bound = _off(found, exact)
    assert float(converged.max()) < 1e-5
    assert bool(found.converged.all())
    assert bool((bound <= ASKED.error).all())
    assert bool((off <= bound + 1e-5).all())  # as far as the reference has converged
    fixed, _ = _off(_in_order(engine, targets, ScaledPath.of(quadrature("midpoint", 20))), exact)
    assert float(fixed.max()) > 10 * ASKED.error  # rough indeed
    counts = found.n_nodes
    assert int(counts[:, 0].float().mean()) > int(counts[:, 1:].float().mean())  # where they are needed
    torch.testing.assert_close(found.start_probability, exact.start_probability, rtol=0, atol=1e-12)


def test_every_gradient_is_counted(engine_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine, targets = engine_of("gpt2", "float64")
    rows = 0
    own = GradientEngine.rows

    def counted(
        self: GradientEngine, batch: Any, points: Any, row_query: RowQueries, kept: Any = None
    ) -> Any:
        nonlocal rows
        rows += sum(map(len, row_query.values()))
        return own(self, batch, points, row_query, kept)

    monkeypatch.setattr(GradientEngine, "rows", counted)
    found = _in_order(engine, targets[:5], ASKED)
    assert int(found.n_nodes.sum()) == rows
    assert set((found.n_nodes % 4).flatten().tolist()) == {0}
    more = _in_order(engine, targets[:5], replace(ASKED, intervals=3))
    assert int(more.n_nodes.min()) >= 12


def test_results_do_not_depend_on_neighbours_order_or_memory(engine_of: Any) -> None:
    _, engine, targets = engine_of("gpt2", "float64")
    together = _in_order(engine, targets[:6], ASKED)
    backwards = _in_order(engine, targets[5::-1], ASKED)
    tight = _in_order(replace(engine, memory=60_000, most_positions=16), targets[:6], ASKED)
    for other in (replace(backwards, **{n: getattr(backwards, n).flip(0) for n in vars(backwards)}), tight):
        assert torch.equal(other.n_nodes, together.n_nodes)
        torch.testing.assert_close(other.mean_gradient, together.mean_gradient, rtol=0, atol=1e-10)
        torch.testing.assert_close(other.error, together.error, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_the_plain_way_gives_the_same(engine_of: Any, kind: str) -> None:
    _, engine, targets = engine_of(kind, "float64")
    grown, full = (_in_order(one, targets[:3], ASKED) for one in (engine, replace(engine, kind="full")))
    assert torch.equal(grown.n_nodes, full.n_nodes)
    for name in ("mean_gradient", "gradient", "activation", "start_probability", "hidden"):
        torch.testing.assert_close(getattr(grown, name), getattr(full, name), rtol=0, atol=1e-9)


def test_a_path_may_start_anywhere(engine_of: Any, plain: Any, close: Any) -> None:
    loaded, engine, targets = engine_of("gpt2", "float64")
    one_prompt = plain(loaded.model, list(loaded.sites.downs), targets[2])
    start = one_prompt.vectors() * 0.5 + 0.1
    found = _in_order(engine, [targets[2]], replace(ASKED, error=1e-8), start=start[None], whole=True)
    close(found.step[0], one_prompt.vectors() - start)
    close(found.mean_gradient[0], one_prompt.gradients(start, quadrature("gauss", 24)), 1e-8)
    close(found.change[0], one_prompt.changes(start), 1e-9)


def test_a_path_that_does_not_converge_is_told(engine_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine, targets = engine_of("gpt2", "float64")
    monkeypatch.setattr(certified_quadrature, "MOST_NODES", 8)
    found = _in_order(engine, targets[:2], Certified(error=1e-15, floor=0.05))
    assert not bool(found.converged.all())
    assert int(found.n_nodes.max()) <= 8 + 12  # once more, from below the limit
    assert bool((found.error[found.converged == 0] > 0).all())


def test_targets_of_one_query_are_refined_together(engine_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neurons of a target that hardly counts do not reach the floor of its query."""
    _, engine, targets = engine_of("gpt2", "float64")
    owners = Owners(of_target=torch.tensor([0, 0]), weight=torch.tensor([1.0, 1e-9], dtype=torch.float64))
    tight = replace(ASKED, error=1e-7)
    alone = _in_order(engine, targets[:2], tight)
    together = _in_order(engine, targets[:2], tight, owners=owners)
    assert int(together.n_nodes[1].sum()) < int(alone.n_nodes[1].sum())
    monkeypatch.setattr(certified_quadrature, "MOST_TARGETS", 1)
    assert [indices for indices, _ in certified(engine, targets[:2], tight)] == [[0], [1]]
    assert [indices for indices, _ in certified(engine, targets[:2], tight, owners=owners)] == [[0, 1]]


def test_a_neuron_at_a_threshold_is_told_from_it(engine_of: Any) -> None:
    """A bar just beside each neuron in turn, far within the error that is asked for: it falls on the true side."""
    _, engine, targets = engine_of("gpt2", "float64")
    exact = _in_order(engine, targets[:1], Certified(error=1e-9, floor=0.05))
    share = (exact.step * exact.mean_gradient)[0]
    share = share / share.max()
    rough = Certified.named(0.05, 0.05, 4, torch.float64)
    before = int(_in_order(engine, targets[:1], rough).n_nodes.sum())
    places = ((share > 0.2) & (share < 0.9)).nonzero().tolist()
    assert len(places) >= 3
    more = []
    for layer, neuron in places:
        for beside in (-0.002, 0.002):
            threshold = float(share[layer, neuron]) + beside
            found = _in_order(engine, targets[:1], replace(rough, thresholds=(threshold,)))
            score = (found.step * found.mean_gradient)[0]
            assert torch.equal(score > threshold * score.max(), share > threshold)
            assert bool(found.converged.all())
            more.append(int(found.n_nodes.sum()) - before)
    assert min(more) >= 0
    assert max(more) > 0
