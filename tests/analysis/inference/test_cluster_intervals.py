"""Cluster-robust variances and intervals against scipy, statsmodels and simulations."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.sandwich_covariance import cov_cluster

from qloc.analysis.inference.cluster_intervals import (
    cluster_interval,
    cluster_intervals,
    cluster_variance,
)
from qloc.analysis.inference.label_codes import codes


def test_one_way_variance_is_that_of_statsmodels(rng):
    x, group = rng.normal(size=60), np.repeat(np.arange(12), 5)
    fit = sm.OLS(x, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": group, "df_correction": True})
    # statsmodels' small-sample factor G/(G−1) · (n−1)/(n−k) is G/(G−1) with k = 1.
    assert cluster_variance(x, (group,)) == pytest.approx(float(fit.cov_params()[0, 0]), rel=1e-10)


def test_two_way_variance_is_that_of_statsmodels(rng):
    a, b = rng.integers(6, size=90), rng.integers(9, size=90)
    x = rng.normal(size=90) + rng.normal(size=6)[a] + rng.normal(size=9)[b]
    fit = sm.OLS(x, np.ones(90)).fit()
    one, two, both = (float(np.asarray(cov_cluster(fit, g))[0, 0]) for g in (a, b, codes(a, b)))
    assert cluster_variance(x, (a, b)) == pytest.approx(max(one, one + two - both), rel=1e-10)


def test_one_observation_a_cluster_is_student():
    x = np.array([1.0, 4.0, 2.0, 6.0, 3.0])
    found = cluster_interval(x, (np.arange(5),))
    assert found is not None
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_missing_values_are_left_out_column_by_column():
    values = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, 7.0], [np.nan, np.nan]])
    low, high, _ = cluster_intervals(values, (np.arange(4),))
    for place, column in enumerate(([1.0, 2.0, 4.0], [5.0, 7.0])):
        expected = stats.ttest_1samp(column, 0).confidence_interval(0.95)
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("values", [[np.nan, np.nan], [1.0, 2.0]])
def test_one_cluster_has_no_interval(values):
    assert cluster_interval(np.array(values), (np.zeros(2, dtype=int), np.zeros(2, dtype=int))) is None


def test_interval_of_a_two_way_mean_covers(rng):
    """Relations and answers both matter: 400 simulations; 95% nominal, 99% binomial bound."""
    hits = 0
    for _ in range(400):
        relation, answer = np.repeat(np.arange(15), 8), rng.integers(25, size=120)
        x = rng.normal(size=15)[relation] + rng.normal(size=25)[answer] + rng.normal(size=120)
        found = cluster_interval(x, (relation, answer))
        assert found is not None
        hits += found.low <= 0 <= found.high
    assert stats.binomtest(hits, 400, 0.95).pvalue > 0.01


def test_the_way_with_fewer_clusters_gives_the_degrees_of_freedom():
    rng = np.random.default_rng(0)
    values, many, few = rng.normal(size=(120, 1)), np.repeat(np.arange(30), 4), np.arange(120) % 3
    for ways in ((many, few), (few, many)):
        _, _, methods = cluster_intervals(values, ways, confidence=0.95)
        assert methods[0].endswith("t(2)")
