"""The engine against brute force: one full forward and backward for each layer and node; and its batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from qloc.extract.attribution.integrated_gradients import ScaledPath
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.prompts.tokenizing import Target

KINDS = ("gpt2", "llama", "qwen2", "mistral", "gpt_neox", "bert")
JOINS = {"bert": "token"}


@pytest.mark.parametrize("kind", KINDS)
def test_attribution_equals_brute_force(engine_of: Any, scores_of: Any, brute_force: Any, kind: str) -> None:
    loaded, engine, targets = engine_of(kind, "float64")
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
    engine_of: Any, scores_of: Any, kind: str, join: Any, cut: bool
) -> None:
    _, engine, targets = engine_of(kind, "float64")
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
    engine_of: Any, scores_of: Any, kind: str, dtype: str, tolerance: float
) -> None:
    """Sums over other shapes round otherwise: 1e-9 and 1e-4 of the largest are far above that."""
    _, engine, targets = engine_of(kind, dtype)
    path, targets = ScaledPath.of(quadrature("midpoint", 3)), targets[::3]
    together, _ = scores_of(engine, targets, path)
    scale = tolerance * float(together.abs().max())
    alone = torch.cat([scores_of(engine, [target], path)[0] for target in targets])
    backwards, _ = scores_of(engine, targets[::-1], path)
    tight = replace(engine, memory=40_000)
    assert len(tight._layer_groups(8, dict.fromkeys(range(3), 4), 1)) > 1
    split, _ = scores_of(tight, targets, path)
    for other in (alone, backwards.flip(0), split):
        torch.testing.assert_close(other, together, rtol=0, atol=scale)


# ---- batches


def _targets(*lengths: int) -> list[Target]:
    return [Target(ids=tuple(range(n)), position=n - 1, token=1) for n in lengths]


def test_batches_are_of_one_length_and_hold_every_target_once(engine_of: Any) -> None:
    _, engine, _ = engine_of("gpt2", "float64")
    assert engine.plan(_targets(5, 3, 5, 3, 3), 2) == [[1, 3, 4], [0, 2]]
    assert engine.plan([], 2) == []


@pytest.mark.parametrize(("kind", "sizes"), [("gpt2", [5, 4]), ("bert", [1] * 9)])
def test_positions_in_flight_are_bounded(engine_of: Any, kind: str, sizes: list[int]) -> None:
    """A target has 1 + 2 · 3 rows: of one position in a causal model, of five in a masked one."""
    _, engine, _ = engine_of(kind, "float64")
    bounded = replace(engine, most_positions=35)
    assert [len(batch) for batch in bounded.plan(_targets(*[5] * 9), 2)] == sizes
    # a target is never left out, however little is allowed
    assert replace(engine, most_positions=1, memory=1).plan(_targets(5, 5), 2) == [[0], [1]]


def test_less_memory_makes_smaller_batches_and_groups_of_layers(engine_of: Any) -> None:
    _, engine, _ = engine_of("gpt2", "float64")
    every = dict.fromkeys(range(3), 2)
    a_query = engine.bytes_of(5, every)
    assert [len(batch) for batch in replace(engine, memory=2 * a_query).plan(_targets(*[5] * 5), 2)] == [
        2,
        2,
        1,
    ]
    assert replace(engine, memory=a_query)._layer_groups(5, every, 1) == [[0, 1, 2]]
    assert replace(engine, memory=a_query - 1)._layer_groups(5, every, 1) == [[0, 1], [2]]
    assert replace(engine, memory=1)._layer_groups(5, {0: 2, 2: 2}, 1) == [[0], [2]]


def test_nothing_is_left_behind(engine_of: Any, scores_of: Any) -> None:
    loaded, engine, targets = engine_of("llama", "float32")
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    scores_of(engine, targets, ScaledPath.of(quadrature("midpoint", 2)))
    assert all(torch.equal(before[name], weight) for name, weight in loaded.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
    assert all(weight.grad is None for weight in loaded.model.parameters())
