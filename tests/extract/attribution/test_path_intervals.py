"""Rules on one interval, by polynomials that they integrate exactly and functions whose integral is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qloc.extract.attribution.path_intervals import (
    Intervals,
    alpha_and_slope,
    rule_and_spread,
    scale_of_path,
)

PLACES = torch.arange(9, dtype=torch.float64) / 8


def _power(degree: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x**degree


def _of(function: Callable[[Tensor], Tensor], fine: bool) -> tuple[float, float]:
    """Integral over [0, 1] and its difference from the lower rule."""
    value, spread = rule_and_spread(torch.tensor([fine]))[:, 0] @ function(PLACES)
    return float(value), float(spread)


@pytest.mark.parametrize(("fine", "degree", "lower"), [(False, 5, 3), (True, 9, 5)])
def test_polynomials_are_integrated_exactly(fine: bool, degree: int, lower: int) -> None:
    for power in range(degree + 1):
        value, spread = _of(_power(power), fine)
        assert value == pytest.approx(1 / (power + 1), abs=1e-14)
        assert (abs(spread) < 1e-14) == (power <= lower)
    assert _of(_power(degree + 1), fine)[0] != pytest.approx(1 / (degree + 2), abs=1e-9)


def test_a_coarse_interval_ignores_what_it_does_not_have() -> None:
    missing = torch.where(torch.arange(9) % 2 == 1, torch.nan, 1.0)
    weights = rule_and_spread(torch.tensor([False]))
    assert not bool(weights[:, :, 1::2].any())
    assert float((weights[0, 0] * missing.nan_to_num(1e9)).sum()) == pytest.approx(1)


def test_a_path_is_walked_from_its_start_to_its_end() -> None:
    scale = torch.tensor([1.0, 2.0**-3, 2.0**-20], dtype=torch.float64)[:, None]
    x = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    alpha, slope = alpha_and_slope(scale.expand(-1, len(x)), x.expand(3, -1))
    torch.testing.assert_close(alpha[:, -1], torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not bool(alpha[:, 0].any())
    # the slope, integrated, is the way that was walked
    walked = torch.trapezoid(slope, x)
    torch.testing.assert_close(walked, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-8)
    assert torch.equal(alpha[0], x)
    assert float((alpha[2] < 1e-3).double().mean()) > 0.4  # even in log α


def test_the_scale_is_a_power_of_two_and_never_more_than_even() -> None:
    ratio = torch.tensor([0.1, 1.0, 3.9, 100.0, 1e30, torch.inf, torch.nan, 0.0])
    assert scale_of_path(ratio).tolist() == [1, 1, 1, 2**-7, 2**-30, 2**-30, 1, 1]


# ---- bisection


def _intervals(function: Callable[[Tensor], Tensor]) -> Intervals:
    """Two coarse intervals of different paths, [0, 1] and [0.5, 1], with gradients of one component."""
    left = torch.tensor([0.0, 0.5], dtype=torch.float64)
    x = left[:, None] + PLACES * (1 - left)[:, None]
    values = torch.where(torch.arange(9) % 2 == 0, function(x), torch.nan)
    blank = torch.zeros(2, 1, dtype=torch.float64)
    return Intervals(
        target=torch.tensor([0, 1]),
        layer=torch.tensor([2, 3]),
        left=left,
        width=1 - left,
        fine=torch.tensor([False, False]),
        known=torch.tensor([True, True]),
        gradient=values[:, :, None],
        probability=values,
        slope=-values,
        integral=blank,
        spread=blank,
        gap=blank[:, 0],
    )


def _integrals(of: Intervals) -> Tensor:
    weights = rule_and_spread(of.fine)[0] * of.width[:, None]
    return (weights * of.gradient[:, :, 0].nan_to_num(0)).sum(1)


@pytest.mark.parametrize("pieces", [1, 2])
def test_what_is_missing_makes_fine_intervals(pieces: int) -> None:
    coarse = _intervals(torch.exp)
    x = coarse.added_at(pieces)
    assert x.shape == (2, {1: 4, 2: 12}[pieces])
    fine = coarse.refined(pieces, torch.exp(x)[:, :, None], torch.exp(x), -torch.exp(x))
    assert bool(fine.fine.all())
    assert not bool(fine.known.any())
    assert torch.equal(fine.slope, -fine.probability)
    places = fine.left[:, None] + PLACES * fine.width[:, None]
    torch.testing.assert_close(fine.gradient[:, :, 0], torch.exp(places), rtol=1e-14, atol=0)
    torch.testing.assert_close(fine.probability, torch.exp(places), rtol=1e-14, atol=0)
    for path, (target, layer) in enumerate(((0, 2), (1, 3))):
        own = fine.target == target
        assert fine.layer[own].tolist() == [layer] * pieces
        start = float(coarse.left[path])
        exact = torch.exp(torch.tensor(1.0)) - torch.exp(torch.tensor(start))
        assert float(_integrals(fine)[own].sum()) == pytest.approx(float(exact), rel=1e-7)


def test_halves_of_a_fine_interval_are_coarse_ones() -> None:
    coarse = _intervals(torch.sin)
    x = coarse.added_at(1)
    halves = coarse.refined(1, torch.sin(x)[:, :, None], torch.sin(x), -torch.sin(x)).halves()
    assert halves.left.tolist() == [0, 0.5, 0.5, 0.75]
    assert halves.width.tolist() == [0.5, 0.25, 0.5, 0.25]
    assert not bool(halves.fine.any() or halves.known.any())
    places = halves.left[:, None] + PLACES * halves.width[:, None]
    even = slice(None, None, 2)
    torch.testing.assert_close(halves.probability[:, even], torch.sin(places)[:, even], rtol=0, atol=1e-15)


def test_taking_and_joining_keep_every_field() -> None:
    both = _intervals(torch.exp)
    again = both.take(torch.tensor([1])).join(both.take(torch.tensor([True, False])))
    assert again.target.tolist() == [1, 0]
    assert again.left.tolist() == [0.5, 0]
    assert torch.equal(again.gradient[:, 0], both.gradient.flip(0)[:, 0])
