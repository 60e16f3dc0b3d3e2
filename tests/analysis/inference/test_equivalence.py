"""Equivalence tests against two t-tests of scipy."""

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.equivalence import mean_tost_p, tost_p


def halls_p(x, margin):
    """Two one-sided p's by t + a t²/3 + a² t³/27 + a/6, a that of skewness against the mean."""
    found = []
    for side in (x + margin, margin - x):
        t, a = stats.ttest_1samp(side, 0).statistic, min(stats.skew(side, bias=False), 0) / np.sqrt(len(x))
        found.append(stats.t.sf(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6, len(x) - 1))
    return max(found)


def test_equivalence_is_that_of_two_t_tests(rng):
    x = rng.normal(0.02, 0.1, 30)
    lower = stats.ttest_1samp(x, -0.05, alternative="greater").pvalue
    upper = stats.ttest_1samp(x, 0.05, alternative="less").pvalue
    found = mean_tost_p(x, (np.arange(30),), 0.05)
    assert found == pytest.approx(max(lower, upper, halls_p(x, 0.05)))
    assert max(lower, upper) <= found < max(lower, upper) + 0.02
    skewed = x - (np.arange(30) == 7)  # one effect far below: what is above −0.05 is less sure
    assert mean_tost_p(skewed, (np.arange(30),), 0.2) == pytest.approx(halls_p(skewed, 0.2))
    assert halls_p(skewed, 0.2) > stats.ttest_1samp(skewed, -0.2, alternative="greater").pvalue
    assert np.isnan(mean_tost_p(x, (np.zeros(30, dtype=int),), 0.05))
    assert np.isnan(tost_p(0.0, 0.0, 5, 0.1))


def test_rare_large_effects_are_no_equivalence_more_often_than_5_percent():
    """One fact of seven far below, 8 relations of 4 facts, the mean at the margin: by t-tests alone 8%."""
    relation, rejected = np.repeat(np.arange(8), 4), 0
    for seed in range(300):
        x = np.where(np.random.default_rng(seed).random(32) < 1 / 7, -6.0, 1.0)
        rejected += mean_tost_p(x - 1, (relation, np.arange(32)), 1.0) <= 0.05
    assert rejected <= 25  # 5%, and 2.6 standard errors


def test_the_larger_of_both_p_counts():
    assert tost_p(0.03, 0.01, 20, 0.05) == pytest.approx(stats.t.cdf(-2, 20))
    assert tost_p(-0.03, 0.01, 20, 0.05) == pytest.approx(stats.t.sf(2, 20))
    assert tost_p(0.05, 0.01, 20, 0.05) == pytest.approx(0.5)  # at the margin
    assert np.isnan(tost_p(0.0, np.nan, 5, 0.1))


def test_undefined_effects_are_left_out_and_clusters_widen(rng):
    x = rng.normal(0, 0.1, 20) + rng.normal(0, 0.1, 5)[np.arange(20) % 5]
    with_gap = np.append(x, np.nan)
    alone = mean_tost_p(x, (np.arange(20),), 0.2)
    assert mean_tost_p(with_gap, (np.arange(21),), 0.2) == alone
    assert mean_tost_p(x, (np.arange(20) % 5,), 0.2) > alone
    assert np.isnan(mean_tost_p(np.full(3, np.nan), (np.arange(3),), 0.2))
