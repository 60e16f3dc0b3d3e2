"""Cluster-robust intervals against scipy and simulations."""

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.cluster_intervals import cluster_interval, hull


def test_one_observation_a_cluster_is_student():
    x = np.array([1.0, 4.0, 2.0, 6.0, 3.0])
    found = cluster_interval(x, (np.arange(5),))
    assert found is not None
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_missing_values_are_left_out():
    found = cluster_interval(np.array([1.0, 2.0, 4.0, np.nan]), (np.arange(4),))
    assert found is not None
    expected = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


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


def test_a_way_that_adds_nothing_leaves_the_interval_of_the_first(rng):
    """Answers within relations: the two-way interval is the relations' own, t(G − 1)."""
    relation = np.repeat(np.arange(6), 10)
    x = rng.normal(size=60) + rng.normal(size=6)[relation]
    two, one = (cluster_interval(x, ways) for ways in ((relation, np.arange(60) // 2), (relation,)))
    assert two is not None
    assert one is not None
    assert (two.low, two.high) == (one.low, one.high)
    assert two.method == "two-way cluster-robust over 6 and 30 clusters, t(5)"


def test_intervals_of_unequal_relations_cover(rng):
    """Relations of 72 to 2 facts that differ: 400 simulations; G − 1 and equal weights cover 83%."""
    size = np.array([72, 34, 20, 13, 9, 6, 4, 2])
    relation, hits = np.repeat(np.arange(8), size), 0
    for _ in range(400):
        x = rng.normal(size=8)[relation] + rng.normal(size=160)
        found = cluster_interval(x, (relation, np.arange(160)))
        assert found is not None
        hits += found.low <= 0 <= found.high
    assert stats.binomtest(hits, 400, 0.95).pvalue > 0.01 or hits > 380


def test_farther_ends_of_two_intervals_need_both(rng):
    x, each = rng.normal(size=12), np.arange(12)
    fine, coarse = (cluster_interval(x, (way,)) for way in (each, each // 3))
    assert fine is not None
    assert coarse is not None
    both = hull(fine, coarse)
    assert both is not None
    assert (both.low, both.high) == (min(fine.low, coarse.low), max(fine.high, coarse.high))
    assert hull(fine, None) is None
    assert hull(None, fine) is None
