"""Intervals that allow for skewness: ends by the test that they invert, coverage where few effects are large."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.skewed_interval import farther, skewed_interval


def hall(t, a):
    return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6


def test_an_end_is_where_halls_t_reaches_the_quantile(rng):
    x, each = rng.gamma(4, size=12), np.arange(12)
    plain, found = cluster_interval(x, (each,)), skewed_interval(x, (each, each))
    assert plain is not None
    assert found is not None
    quantile, error = stats.t.ppf(0.975, 11), x.std(ddof=1) / np.sqrt(12)
    a = stats.skew(x, bias=False) / np.sqrt(12)
    far = brentq(lambda t: hall(t, -a) - quantile, 0, 50)
    assert 1 - a * (quantile + a / 6) > 1 / 64
    assert found.high == pytest.approx(x.mean() + far * error)
    assert found.low == pytest.approx(plain.low)
    assert found.method == f"{plain.method}, Hall's for skewness"
    mirrored = skewed_interval(-x, (each, each))
    assert mirrored is not None
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_extreme_skewness_has_an_end_too():
    x, each = np.append(np.zeros(7), 100.0), np.arange(8)
    plain, found = cluster_interval(x, (each,)), skewed_interval(x, (each, each))
    assert plain is not None
    assert found is not None
    assert 1 < (found.high - x.mean()) / (plain.high - x.mean()) < 2.5


@pytest.mark.parametrize("t", [2.0, 1e3, 1e9, 1e16])
def test_an_end_is_at_most_so_much_farther_whatever_the_quantile(t):
    """3 (1 − L^(1/3))/(1 − L) of t, L = 1/64, for the most skewness: t of hardly any freedom has no bound."""
    most = 3 * (1 - 1 / 4) / (1 - 1 / 64)
    assert farther(t, -9.0) == pytest.approx(most * t, rel=0.1 if t < 10 else 1e-6)
    assert farther(np.inf, -9.0) == np.inf


def test_few_rare_effects_are_covered():
    """Log-normal facts in 8 relations of 5: t alone covers 90%; 3 of 200 fewer are 2 standard errors."""
    relation, facts = np.repeat(np.arange(8), 5), np.arange(40)
    covered = np.zeros(2)
    for seed in range(200):
        x = np.random.default_rng(seed).lognormal(size=40) - np.exp(0.5)
        for place, found in enumerate(
            (cluster_interval(x, (relation,)), skewed_interval(x, (relation, facts)))
        ):
            assert found is not None
            covered[place] += found.low <= 0 <= found.high
    assert covered[1] >= 184 > covered[0]


def test_one_relation_has_the_interval_of_its_answers(rng):
    x, one, each = rng.exponential(size=9), np.zeros(9, dtype=int), np.arange(9)
    plain, found = cluster_interval(x, (each,)), skewed_interval(x, (one, each))
    assert plain is not None
    assert found is not None
    assert found == skewed_interval(x, (each,)) == skewed_interval(x, (each, each))
    assert found.low == pytest.approx(plain.low)  # the long tail is upwards
    assert found.high > plain.high
    assert skewed_interval(np.full(3, np.nan), (one[:3], each[:3])) is None
    assert skewed_interval(np.ones(4), (each[:4], each[:4])) is None
