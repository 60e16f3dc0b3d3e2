"""Errors of clustered means and slopes: against statsmodels, by matrices, and where nothing can be told."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.sandwich_covariance import cov_cluster

from qloc.analysis.inference.cluster_error import effective_number, mean_error, slope_error, t_words
from qloc.analysis.inference.label_codes import codes


def test_equal_clusters_give_the_error_of_statsmodels(rng):
    x, group = rng.normal(size=60), np.repeat(np.arange(12), 5)
    fit = sm.OLS(x, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": group, "df_correction": True})
    error, freedom = mean_error(x, (group,))
    # statsmodels' small-sample factor G/(G−1) · (n−1)/(n−k) is G/(G−1) with k = 1.
    assert error == pytest.approx(float(fit.bse[0]), rel=1e-10)
    assert freedom == pytest.approx(11)


def test_two_ways_of_equal_clusters_are_those_of_statsmodels(rng):
    """Every pair of 6 relations and 9 answers has one fact, so that no way is larger than another."""
    a, b = np.repeat(np.arange(6), 9), np.tile(np.arange(9), 6)
    x = rng.normal(size=54) + 3 * rng.normal(size=6)[a] + 3 * rng.normal(size=9)[b]
    fit = sm.OLS(x, np.ones(54)).fit()
    one, two, both = (float(np.asarray(cov_cluster(fit, g))[0, 0]) for g in (a, b, codes(a, b)))
    error, freedom = mean_error(x, (a, b))
    assert two > both
    assert error == pytest.approx(np.sqrt(one + two - both), rel=1e-10)
    assert freedom == pytest.approx((one + two - both) ** 2 / (one**2 / 5 + (two - both) * two / 8))


def _by_matrices(residual, carrier, code, psi):
    """V(c) and d(c) with all matrices written out."""
    n, total = int(code.max()) + 1, carrier @ carrier
    share = np.bincount(code, weights=carrier**2) / total
    sums = np.bincount(code, weights=carrier * residual)
    weight = np.diag(1 / (1 - share))
    left = np.eye(n) - np.outer(share, np.ones(n))
    variance = np.diag(share + psi * share**2)
    spread = np.sqrt(weight) @ left @ variance @ left.T @ np.sqrt(weight)
    bias = np.trace(spread) / np.trace(variance)
    limit = 1 / (share @ share) - 1
    freedom = np.trace(spread) ** 2 / np.sum(spread**2)
    value = sums @ weight @ sums / total**2 / bias
    return value, min(freedom + 1, max(freedom, limit))


def test_unequal_clusters_by_matrices(rng):
    """A slope of relations of 30 to 2 facts; ψ by the moments of slopes in each relation."""
    code = np.repeat(np.arange(6), [30, 14, 8, 5, 3, 2])
    z = rng.normal(size=62)
    y = z * (1 + rng.normal(size=6)[code]) + rng.normal(size=62)
    beta = z @ y / (z @ z)
    leverage = np.bincount(code, weights=z**2)
    own = np.bincount(code, weights=z * y) / leverage
    unit = np.sum((y - own[code] * z) ** 2) / (62 - 6)
    q = leverage @ (own - beta) ** 2 / unit
    share = leverage / leverage.sum()
    psi = max(0.0, (q - 5) / (1 - share @ share))
    error, freedom = slope_error(y - beta * z, z, (code,))
    assert psi > 0
    assert (error**2, freedom) == pytest.approx(_by_matrices(y - beta * z, z, code, psi), rel=1e-9)


def test_the_error_is_unbiased_where_relations_differ(rng):
    """Mean of V over 2,000 draws against the variance of the mean, Σ s_g² + 1/n, within four errors."""
    code = np.repeat(np.arange(6), [30, 14, 8, 5, 3, 2])
    share = np.bincount(code) / 62
    drawn = np.empty(2000)
    for place in range(2000):
        drawn[place] = mean_error(3 * rng.normal(size=6)[code] + rng.normal(size=62), (code,))[0] ** 2
    truth = 9 * share @ share + 1 / 62
    assert abs(drawn.mean() - truth) < 4 * drawn.std() / np.sqrt(2000)


def test_shares_of_eight_one_and_one_are_few_clusters():
    code = np.array([0] * 8 + [1, 2])
    assert effective_number(code) == pytest.approx(1 / 0.66)
    error, freedom = mean_error(np.arange(10.0), (code,))
    assert error > 0
    assert freedom < 2


def test_two_ways_have_one_degree_of_freedom_at_least():
    """One relation has nearly all facts: V(answer) less that of both ways is a small difference of large ones."""
    relation, least = np.repeat(np.arange(5), [60, 2, 2, 2, 2]), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        answer, x = rng.integers(6, size=68), rng.normal(size=68)
        x += rng.normal(size=6)[answer]
        carrier = x - (np.bincount(relation, x) / np.bincount(relation))[relation]
        residual = rng.normal(size=68) + rng.normal(size=6)[answer] * carrier
        least.append(slope_error(residual, carrier, (relation, answer))[1])
    assert min(least) == 1 < max(least)


def test_one_observation_a_cluster_is_student(rng):
    x = rng.normal(size=7)
    error, freedom = mean_error(x, (np.arange(7),))
    assert (error, freedom) == pytest.approx((stats.sem(x), 6))


def test_one_cluster_or_all_leverage_in_one_has_no_error(rng):
    x = rng.normal(size=6)
    assert np.isnan(mean_error(x, (np.zeros(6, dtype=int),))).all()
    assert np.isnan(mean_error(x[:0], (np.zeros(0, dtype=int),))).all()
    carrier = np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    assert np.isnan(slope_error(x, carrier, (np.arange(6) // 2,))).all()
    assert mean_error(np.ones(6), (np.arange(6) // 2,))[0] == 0.0


def test_freedom_in_words():
    assert (t_words(11.0), t_words(2.25)) == ("t(11)", "t(2.2)")
