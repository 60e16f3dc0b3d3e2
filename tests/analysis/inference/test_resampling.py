"""Permutation p-values, cluster bootstraps and sign flips against scipy and brute force."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.label_codes import distinct
from qloc.analysis.inference.resampling import (
    bootstrap_interval,
    cluster_weights,
    percentiles,
    permutation_p,
    resampled,
    sign_flip_p,
)


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
    assert ours is not None
    theirs = stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    # Monte Carlo error of a limit at 4,000 resamples, and t(79) in place of the normal: a few hundredths.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_a_bootstrap_says_how_it_was_made_and_needs_clusters_and_resamples(rng):
    x, ways = rng.normal(size=12), (np.repeat(np.arange(3), 4), np.arange(12) % 4)

    def mean(weights):
        return weights @ x / np.maximum(weights.sum(axis=1), 1)

    interval = bootstrap_interval(mean, ways, n_resamples=50, rng=rng)
    assert interval is not None
    assert interval.method == "two-way cluster bootstrap over 3 and 4 clusters, percentile, 50 resamples"
    alike = bootstrap_interval(mean, (ways[0], ways[0]), n_resamples=50, rng=rng)
    assert alike is not None
    assert alike.method == "one-way cluster bootstrap over 3 clusters, percentile, 50 resamples"
    assert bootstrap_interval(mean, (np.zeros(12, dtype=int),), n_resamples=50, rng=rng) is None
    assert bootstrap_interval(mean, ways, n_resamples=0, rng=rng) is None
    assert bootstrap_interval(lambda w: np.full(len(w), np.nan), ways, n_resamples=9, rng=rng) is None


def test_every_resample_draws_as_many_clusters_as_there_are(rng):
    code = np.array([0, 0, 1, 2])
    weights = cluster_weights(code, 100, rng)
    assert weights.shape == (100, 4)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 1:].sum(axis=1) == 3).all()


def test_large_resamples_are_made_in_pieces_that_do_not_matter(monkeypatch):
    from qloc.analysis.inference import resampling

    code = np.arange(5)
    whole = resampled(lambda w: w, (code,), 20, np.random.default_rng(1))
    monkeypatch.setattr(resampling, "_PIECE", 5)
    assert (resampled(lambda w: w, (code,), 20, np.random.default_rng(1)) == whole).all()


def test_percentiles_are_wider_for_few_clusters():
    draws = np.linspace(0, 1, 10_001)
    low, high = percentiles(draws, 0.95, 10**6)
    assert (low, high) == pytest.approx((0.025, 0.975), abs=1e-3)
    # Hesterberg's tail for G = 4: Φ(t_{0.025}(3) · √(4/3)).
    tail = stats.norm.cdf(stats.t.ppf(0.025, 3) * np.sqrt(4 / 3))
    assert percentiles(draws, 0.95, 4) == pytest.approx((tail, 1 - tail), abs=1e-3)


def test_ways_that_cluster_alike_or_not_at_all_are_left_out():
    first, one, other = np.array([0, 0, 1]), np.zeros(3, dtype=int), np.array([0, 1, 1])
    kept = distinct([one, first, first.copy(), other])
    assert [way.tolist() for way in kept] == [[0, 0, 1], [0, 1, 1]]


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


def test_one_sided_flips_by_brute_force(rng):
    x, cluster = rng.normal(0.5, 1, 12), np.repeat(np.arange(6), 2)
    sums = [x[cluster == g].sum() for g in range(6)]
    totals = [np.dot(signs, sums) for signs in product([1, -1], repeat=6)]
    p = sign_flip_p(x, cluster, n_permutations=99, rng=rng, alternative="greater")
    assert p == np.mean(np.array(totals) >= sum(sums) - 1e-9)
    many = sign_flip_p(x, np.arange(12), n_permutations=999, rng=rng, alternative="greater")
    below = sign_flip_p(-x, np.arange(12), n_permutations=999, rng=rng, alternative="greater")
    assert many + below == pytest.approx(1, abs=0.06)  # 999 draws
