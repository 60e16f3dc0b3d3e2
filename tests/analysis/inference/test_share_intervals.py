"""Intervals of bounded means: by hand, within their range, of a width above 0, and covering near 1."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.cluster_error import mean_error
from qloc.analysis.inference.share_intervals import (
    bounded_intervals,
    negative_interval,
    ratio_share_interval,
    share_interval,
)


@pytest.mark.parametrize(("value", "n"), [(0.0, 18), (1.0, 8)])
def test_facts_that_are_all_alike_leave_an_interval(value: float, n: int) -> None:
    """Clopper–Pearson of 0 of 18: 1 − .025^(1/18); none with one cluster."""
    interval = share_interval(np.full(n, value), (np.arange(n),))
    assert interval is not None
    width = 1 - 0.025 ** (1 / n)
    assert (interval.low, interval.high) == pytest.approx((0.0, width) if value == 0 else (1 - width, 1.0))
    assert share_interval(np.full(n, value), (np.zeros(n, dtype=int),)) is None


def test_few_on_one_side_are_counted_exactly() -> None:
    """One of 30 independent facts: scipy's exact interval of a binomial, with the same error."""
    x = np.zeros(30)
    x[0] = 1.0
    interval = share_interval(x, (np.arange(30),))
    exact = stats.binomtest(1, 30).proportion_ci(0.95, method="exact")
    assert interval is not None
    # n* is p(1 − p)/s² with s² = p(1 − p)/(n − 1): 29 effective facts in place of 30.
    assert "Clopper–Pearson at 29.0 effective facts" in interval.method
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), rel=0.05, abs=2e-4)


def test_enough_on_both_sides_are_on_the_log_odds_scale(rng: np.random.Generator) -> None:
    share, cluster = rng.beta(2, 6, size=60), np.repeat(np.arange(12), 5)
    interval = share_interval(share, (cluster,), confidence=0.9)
    error, freedom = mean_error(share, (cluster,))
    p = share.mean()
    reach = stats.t.ppf(0.95, freedom) * error / (p * (1 - p))
    assert interval is not None
    for end, sign in ((interval.low, -1), (interval.high, 1)):
        assert np.log(end / (1 - end)) - np.log(p / (1 - p)) == pytest.approx(sign * reach)
    assert interval.method.endswith(", on the log-odds scale")


def test_ratios_take_their_error_from_parts_that_are_no_shares(rng: np.random.Generator) -> None:
    a, cluster = rng.normal(1.0, 3.0, size=80), np.repeat(np.arange(16), 5)
    b = a + rng.normal(1.5, 1.0, size=80)
    share = float(a.sum() / b.sum())
    linear = share + (a - share * b) / b.mean()
    error, freedom = mean_error(linear, (cluster,))
    interval = ratio_share_interval(share, linear, (cluster,))
    assert interval is not None
    assert linear.min() < 0
    assert linear.max() > 1
    reach = stats.t.ppf(0.975, freedom) * error / (share * (1 - share))
    for end, sign in ((interval.low, -1), (interval.high, 1)):
        assert np.log(end / (1 - end)) - np.log(share / (1 - share)) == pytest.approx(sign * reach)
    outside = ratio_share_interval(1.1, linear - share + 1.1, (cluster,))
    assert outside is not None
    assert (outside.low + outside.high) / 2 == pytest.approx(1.1)
    assert ratio_share_interval(share, linear, (np.zeros(80, dtype=int),)) is None


def test_a_share_of_99_percent_is_covered() -> None:
    """8 relations of 20 facts; mean ± t s covers 65–80% of such studies, and passes 1."""
    rng = np.random.default_rng(5)
    relation = np.repeat(np.arange(8), 20)
    covered = 0
    for _ in range(150):
        interval = share_interval((rng.random(160) < 0.99).astype(float), (relation,))
        assert interval is not None
        assert 0 <= interval.low < interval.high <= 1
        covered += interval.low <= 0.99 <= interval.high
    assert stats.binomtest(covered, 150, 0.95, alternative="less").pvalue > 0.01


def test_log_probabilities_stay_below_0() -> None:
    x = np.array([-0.01, -0.02, -0.4, -0.01, -0.03])
    interval = negative_interval(x, (np.arange(5),))
    error, freedom = mean_error(x, (np.arange(5),))
    reach = stats.t.ppf(0.975, freedom) * error
    assert interval is not None
    assert x.mean() + reach > 0 > interval.high
    assert np.log(interval.low / x.mean()) == pytest.approx(reach / -x.mean())
    assert negative_interval(x, (np.zeros(5, dtype=int),)) is None


def test_columns_have_each_its_range() -> None:
    values = np.array([[1.0, 1.0], [1.0, 1.2], [1.0, np.nan], [0.9, 0.9]])
    low, high = bounded_intervals(values, (np.arange(4),), ("share", "none"))
    assert high[0] <= 1 < high[1]
    assert low[0] < values[:, 0].mean()
    ends = bounded_intervals(values, (np.arange(4),), ("share",))  # columns without a bound come last
    assert [side.tolist() for side in ends] == [low.tolist(), high.tolist()]
