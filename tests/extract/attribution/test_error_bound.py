"""Which paths are exact enough and which intervals are refined, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from qloc.extract.attribution.error_bound import Certified, Judge, Owners
from qloc.extract.attribution.path_intervals import Intervals

ASKED = Certified(error=0.01, floor=0.1)


def _intervals(*rows: tuple[int, int, list[float], list[float], float]) -> Intervals:
    """Intervals of (target, layer, integral, spread, gap)."""
    target, layer, integral, spread, gap = (list(column) for column in zip(*rows, strict=True))
    n, blank = len(rows), torch.zeros(len(rows), dtype=torch.float64)
    return Intervals(
        target=torch.tensor(target),
        layer=torch.tensor(layer),
        left=blank,
        width=blank,
        fine=torch.zeros(n, dtype=torch.bool),
        known=torch.ones(n, dtype=torch.bool),
        gradient=torch.zeros(n, 9, 1),
        probability=torch.zeros(n, 9),
        slope=torch.zeros(n, 9),
        integral=torch.tensor(integral, dtype=torch.float64),
        spread=torch.tensor(spread, dtype=torch.float64),
        gap=torch.tensor(gap, dtype=torch.float64),
    )


def _judge(n_targets: int = 1, n_layers: int = 2, n_neurons: int = 2, **given: Any) -> Judge:
    ones = torch.ones(n_targets, n_layers, n_neurons, dtype=torch.float64)
    made = {"asked": ASKED, "owners": Owners.each(n_targets), "scales": (ones,), **given}
    return Judge(**made)


def test_spreads_add_up_and_count_from_the_floor_on() -> None:
    intervals = _intervals(
        (0, 0, [0.6, 0.0], [0.004, 0.5], 0.0),
        (0, 0, [0.4, 0.0], [0.004, 0.0], 0.0),  # the largest attribution is 1
        (0, 1, [0.02, 0.01], [0.05, 0.02], 0.0),  # at most 0.07: no neuron reaches the floor, 0.1
    )
    verdict = _judge().of(intervals)
    assert verdict.total.tolist() == [[[1.0, 0.0], [0.02, 0.01]]]
    # the second neuron of layer 0 may be 0.5, so it counts
    assert verdict.error.tolist() == [[0.5, 0.0]]
    assert verdict.over.tolist() == [[True, False]]
    assert verdict.near[0].tolist() == [[[True, True], [False, False]]]


def test_a_step_between_nodes_shows_in_the_gap() -> None:
    """P changed by 0.3 more than ΣA says; if it lies as what was found does, the largest is off by 0.3 · 2/3."""
    verdict = _judge().of(
        _intervals((0, 0, [1.0, 0.0], [0.0, 0.0], 0.0), (0, 1, [0.04, 0.02], [0.0, 0.0], 0.3))
    )
    assert verdict.error[0].tolist() == pytest.approx([0.0, 0.2])
    assert verdict.over.tolist() == [[False, True]]
    small = _judge().of(
        _intervals((0, 0, [1.0, 0.0], [0.0, 0.0], 0.0), (0, 1, [0.04, 0.02], [0.0, 0.0], 0.08))
    )
    assert small.error.tolist() == [[0.0, 0.0]]  # even so, 0.04 + 0.053 does not reach 0.1


def test_what_several_paths_hide_adds_up() -> None:
    """Each of 20 paths of one query hides too little to reach the floor, all of them more than enough."""
    owners = Owners(of_target=torch.zeros(20, dtype=torch.int64), weight=torch.ones(20).double())
    rows = [(n, 0, [0.05], [0.0], 0.0) for n in range(20)]  # the largest is 1
    rows += [(n, 1, [0.0045], [0.0], 0.05) for n in range(20)]  # 0.09, under the floor of 0.1
    verdict = _judge(20, 2, 1, owners=owners).of(_intervals(*rows))
    assert not bool(verdict.over[:, 0].any())
    assert bool(verdict.over[:, 1].all())


def test_one_path_that_is_not_finite_disturbs_no_other() -> None:
    judge = _judge(2, 1, 1)
    error = torch.tensor([torch.inf, 0.3, 0.4, 0.5], dtype=torch.float64)
    intervals = _intervals(*[(n, 0, [0.5], [0.0], 0.0) for n in (0, 1, 1, 1)])
    chosen = judge.worst(intervals, error, torch.tensor([[True], [True]]))
    assert chosen.tolist() == [True, False, False, True]  # 0.3 + 0.4 may stay


def test_the_query_decides_not_the_target() -> None:
    """Three answer tokens of one query: weights of 1/2, 1/4, 1/4; and one of another."""
    owners = Owners(
        of_target=torch.tensor([0, 0, 0, 1]), weight=torch.tensor([0.5, 0.25, 0.25, 1.0]).double()
    )
    judge = _judge(4, 1, 2, owners=owners)
    verdict = judge.of(
        _intervals(
            (0, 0, [2.0, 0.0], [0.009, 0.0], 0.0),
            (1, 0, [0.0, 0.001], [0.009, 0.009], 0.0),
            (2, 0, [0.0, 0.001], [0.011, 0.009], 0.0),
            (3, 0, [0.1, 0.0], [0.002, 0.0], 0.0),
        )
    )
    # the query's largest is 1, so that 0.01 is allowed each; the other's is 0.1
    assert verdict.allowed[0][:, 0].tolist() == pytest.approx([0.01, 0.01, 0.01, 0.001])
    assert verdict.over[:, 0].tolist() == [False, False, True, True]


def test_the_same_gradient_may_be_asked_for_on_two_scales() -> None:
    one = torch.ones(1, 1, 2, dtype=torch.float64)
    wide = torch.tensor([[[1.0, 30.0]]], dtype=torch.float64)
    intervals = _intervals((0, 0, [1.0, 0.05], [0.0, 0.02], 0.0))
    assert not bool(_judge(1, 1, scales=(one,)).of(intervals).over.any())
    assert bool(_judge(1, 1, scales=(one, wide)).of(intervals).over.all())


def test_the_fewest_intervals_are_refined() -> None:
    judge = _judge(1, 2, 1)
    intervals = _intervals(
        (0, 0, [0.5], [0.006], 0.0),
        (0, 0, [0.5], [0.1], 0.0),
        (0, 0, [0.0], [0.003], 0.0),
        (0, 0, [0.0], [0.02], 0.0),
        (0, 1, [0.5], [0.004], 0.0),
        (0, 1, [0.5], [0.007], 0.0),
    )
    verdict = judge.of(intervals)
    error = judge.excess(intervals, verdict)
    assert error.tolist() == pytest.approx([0.6, 10, 0.3, 2, 0.4, 0.7])
    assert verdict.over.tolist() == [[True, True]]
    # 0.003 + 0.006 may stay; of 0.004 + 0.007 only the first
    chosen = judge.worst(intervals, error, verdict.over)
    assert chosen.tolist() == [False, True, False, True, False, True]
    only = judge.worst(intervals, error, torch.tensor([[False, True]]))
    assert only.tolist() == [False, False, False, False, False, True]
    assert not bool(judge.worst(intervals, error, torch.tensor([[False, False]])).any())


def test_a_query_without_positive_attribution_asks_for_nothing() -> None:
    verdict = _judge(1, 1).of(_intervals((0, 0, [-1.0, -2.0], [0.1, 0.1], 0.0)))
    assert not bool(verdict.over.any())


def test_a_plan_in_half_precision_asks_for_what_it_can_tell() -> None:
    assert Certified.named(0.001, 0.05, 4, torch.float32).error == 0.001
    assert Certified.named(0.001, 0.05, 4, torch.bfloat16).error == 4 * 2**-7
    assert [Certified.named(1e-3, 0.05, n, torch.float64).intervals for n in (1, 4, 5, 20)] == [1, 1, 2, 5]


def test_queries_stay_whole() -> None:
    owners = Owners(of_target=torch.tensor([0, 1, 0, 2, 2, 2, 3]), weight=torch.ones(7).double())
    assert owners.runs(2) == [[[0, 2]], [[1]], [[3, 4, 5]], [[6]]]
    assert owners.runs(100) == [[[0, 2], [1], [3, 4, 5], [6]]]
    part = owners.part([1, 3, 4, 5])
    assert part.of_target.tolist() == [0, 1, 1, 1]


def _at_threshold(largest: float, at: tuple[float, float], **asked: Any) -> Any:
    """A layer with the largest attribution, 1, and one with a neuron of ``at``: value and spread of each."""
    judge = _judge(1, 2, 1, asked=replace(ASKED, thresholds=(0.2,), **asked))
    value, spread = at
    return judge.of(_intervals((0, 0, [1.0], [largest], 0.0), (0, 1, [value], [spread], 0.0)))


@pytest.mark.parametrize(
    ("largest", "at", "open_"),
    [
        (0.0, (0.204, 0.004), [False, True]),  # within its own bound
        (0.0, (0.206, 0.004), [False, False]),
        (0.008, (0.2012, 0.001), [True, False]),  # 0.2 of the largest may be 0.0016 more: that is what counts
        (0.008, (0.2050, 0.001), [False, False]),
        (0.020, (0.2012, 0.001), [True, False]),  # more than was asked for: refined for that first
        (0.020, (0.2012, 0.008), [True, False]),
        (0.0, (0.15, 0.004), [False, False]),
    ],
)
def test_a_neuron_within_its_bound_of_a_threshold(
    largest: float, at: tuple[float, float], open_: list[bool]
) -> None:
    verdict = _at_threshold(largest, at)
    assert verdict.open.tolist() == [open_]
    assert verdict.over.tolist() == [[largest > 0.01, False]]
    assert verdict.error[0].tolist() == [largest, at[1]]


def test_a_bound_falls_by_eight_at_a_threshold_and_no_further_than_can_be_told() -> None:
    assert _at_threshold(0.0, (0.2, 0.004)).allowed[0].tolist() == [[0.01, 0.0005]]
    assert _at_threshold(0.0, (0.2, 0.004), finest=0.001).allowed[0].tolist() == [[0.01, 0.001]]
    assert not bool(_at_threshold(0.0, (0.2, 0.004), finest=0.004).open.any())


def test_thresholds_below_the_floor_are_left_out() -> None:
    asked = Certified.named(0.001, 0.15, 4, torch.float32, (0.1, 0.2))
    assert (asked.thresholds, asked.finest) == ((0.2,), 0.001 / 64)
    half = Certified.named(0.001, 0.15, 4, torch.bfloat16, (0.2,))
    assert half.finest == half.error  # nothing finer can be told
