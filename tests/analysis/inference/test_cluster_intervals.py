"""Intervals, bootstraps, sign flips and effect sizes against scipy, statsmodels and closed forms."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from qloc.analysis.inference.cluster_intervals import (
    cluster_interval,
    cluster_intervals,
    cluster_variance,
)
from qloc.analysis.inference.codes import codes
from qloc.analysis.inference.effect_sizes import hedges_g, rank_biserial
from qloc.analysis.inference.resampling import bootstrap_interval, permutation_p, resampled, sign_flip_p


def test_one_way_variance_is_that_of_statsmodels(rng):
    x, group = rng.normal(size=60), np.repeat(np.arange(12), 5)
    fit = sm.OLS(x, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": group, "df_correction": True})
    # statsmodels' small-sample factor G/(G−1) · (n−1)/(n−k) is G/(G−1) with k = 1.
    assert cluster_variance(x, (group,)) == pytest.approx(float(fit.cov_params()[0, 0]), rel=1e-10)


def test_two_way_variance_is_that_of_statsmodels(rng):
    a, b = rng.integers(6, size=90), rng.integers(9, size=90)
    x = rng.normal(size=90) + rng.normal(size=6)[a] + rng.normal(size=9)[b]
    fit = sm.OLS(x, np.ones(90)).fit()
    from statsmodels.stats.sandwich_covariance import cov_cluster

    one, two, both = (float(np.asarray(cov_cluster(fit, g))[0, 0]) for g in (a, b, codes(a, b)))
    assert cluster_variance(x, (a, b)) == pytest.approx(max(one, one + two - both), rel=1e-10)


def test_one_observation_a_cluster_is_student():
    x = np.array([1.0, 4.0, 2.0, 6.0, 3.0])
    found = cluster_interval(x, (np.arange(5),))
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
        hits += found.low <= 0 <= found.high
    assert stats.binomtest(hits, 400, 0.95).pvalue > 0.01


def test_permutation_p_by_hand():
    assert permutation_p(2.0, np.array([1.0, 2.0, 3.0, 0.0])) == 3 / 5
    assert permutation_p(9.0, np.zeros(999)) == 1 / 1000
    assert np.isnan(permutation_p(float("nan"), np.zeros(9)))
    assert np.isnan(permutation_p(1.0, np.zeros(0)))


def test_resamples_are_of_whole_clusters_in_both_ways(rng):
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    draws = resampled(lambda w: w, (a, b), 200, rng)
    first, second = draws[:, [0, 2]], draws[:, [1, 3]]
    # A product of multiplicities: weight(00) · weight(11) = weight(01) · weight(10).
    assert (first[:, 0] * second[:, 1] == second[:, 0] * first[:, 1]).all()
    assert set(draws.ravel()) <= {0.0, 1.0, 2.0, 4.0}


def test_bootstrap_of_a_mean_agrees_with_scipy(rng):
    x = rng.exponential(size=80)
    ours = bootstrap_interval(lambda w: w @ x / w.sum(axis=1), (np.arange(80),), n_resamples=4000, rng=rng)
    theirs = stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    # Monte Carlo error of a limit at 4,000 resamples, and t(79) in place of the normal: a few hundredths.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_sign_flips_are_exact_with_few_clusters(rng):
    x = np.array([0.5, 1.5, -0.2, 2.0, 1.0])
    expected = stats.permutation_test(
        (x,), np.sum, permutation_type="samples", n_resamples=10**4, alternative="two-sided"
    ).pvalue
    assert sign_flip_p(x, np.arange(5), n_permutations=999, rng=rng) == pytest.approx(expected)


def test_sign_flips_turn_whole_clusters(rng):
    # One cluster of three: two flips, both as large as what is observed.
    assert sign_flip_p(np.array([1.0, 2, 3]), np.zeros(3, dtype=int), n_permutations=99, rng=rng) == 1.0
    many = sign_flip_p(rng.normal(0.8, 1, 200), np.repeat(np.arange(40), 5), n_permutations=499, rng=rng)
    assert many == 1 / 500


def test_rank_biserial_is_that_of_wilcoxon(rng):
    x = rng.normal(0.4, 1, 30)
    ranks = stats.rankdata(np.abs(x))
    expected = (ranks[x > 0].sum() - ranks[x < 0].sum()) / ranks.sum()
    found = rank_biserial(x, (np.arange(30),))
    assert found.value == pytest.approx(expected, rel=1e-12)
    w = stats.wilcoxon(x, alternative="greater").statistic
    assert found.value == pytest.approx(2 * w / ranks.sum() - 1, rel=1e-12)
    assert -1 <= found.interval.low < found.value < found.interval.high <= 1


def test_effects_of_nothing():
    assert np.isnan(rank_biserial(np.array([np.nan, 0.0]), (np.arange(2),)).value)
    assert np.isnan(hedges_g(np.array([1.0]), np.array([2.0, 3.0])))
    assert np.isnan(hedges_g(np.ones(3), np.ones(3)))


def test_hedges_g_golden():
    # By hand: means 2 and 4, pooled variance (2·1 + 2·4)/4 = 2.5, J = 1 − 3/15.
    assert hedges_g(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(-2 / np.sqrt(2.5) * 0.8)


def test_the_way_with_fewer_clusters_gives_the_degrees_of_freedom():
    rng = np.random.default_rng(0)
    values, many, few = rng.normal(size=(120, 1)), np.repeat(np.arange(30), 4), np.arange(120) % 3
    for ways in ((many, few), (few, many)):
        _, _, methods = cluster_intervals(values, ways, confidence=0.95)
        assert methods[0].endswith("t(2)")
