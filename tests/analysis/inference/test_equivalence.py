"""Equivalence tests against two t-tests of scipy."""

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.equivalence import mean_tost_p, tost_p


def test_equivalence_is_that_of_two_t_tests(rng):
    x = rng.normal(0.02, 0.1, 30)
    lower = stats.ttest_1samp(x, -0.05, alternative="greater").pvalue
    upper = stats.ttest_1samp(x, 0.05, alternative="less").pvalue
    assert mean_tost_p(x, (np.arange(30),), 0.05) == pytest.approx(max(lower, upper))
    assert np.isnan(mean_tost_p(x, (np.zeros(30, dtype=int),), 0.05))
    assert np.isnan(tost_p(0.0, 0.0, 5, 0.1))


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
