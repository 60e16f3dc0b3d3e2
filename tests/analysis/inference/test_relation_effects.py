"""What relations contribute to a mean, by loops, and skewness against scipy and simulated nulls."""

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.relation_effects import (
    interval_of_these,
    relations_in_words,
    share_of_clusters,
    skewness_adjusted_p,
    skewness_of,
    skewness_within,
    slopes_in_words,
    slopes_without_each,
    without_each,
)
from qloc.analysis.inference.resampling import sign_flip_p
from qloc.text.rounding import number


def test_skewness_is_scipys_over_means_of_equal_clusters(rng):
    x, cluster = rng.exponential(size=40), np.repeat(np.arange(10), 4)
    means = x.reshape(10, 4).mean(axis=1)
    assert skewness_of(x, cluster) == pytest.approx(stats.skew(means, bias=False))
    assert skewness_of(np.ones(6), np.arange(6)) == skewness_of(x[:2], np.arange(2)) == 0.0


def hall(t, a, freedom):
    return stats.t.sf(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6, freedom)


def test_skewness_to_the_other_side_changes_nothing(rng):
    x, each = np.abs(rng.standard_normal(12)) ** 3, np.arange(12)
    assert skewness_of(x, each) > 1
    plain = stats.ttest_1samp(x, 0, alternative="greater").pvalue
    assert skewness_adjusted_p(x, each, each) == pytest.approx(plain)


def test_skewness_is_allowed_for_as_far_as_clusters_differ():
    """t = 2.5 of 12 clusters, by hand: skewness alone; twofold beyond 0.5 ln(12/7); no lower than −0.75."""
    each, facts, t = np.repeat(np.arange(12), 2), np.arange(24), 2.5
    for power, expected in ((1.2, -1), (4.0, -2), (6.0, -0.75)):
        means = -(np.arange(1, 13.0) ** power)
        means += t * means.std(ddof=1) / np.sqrt(12) - means.mean()
        skewness = stats.skew(means, bias=False)
        beyond = 2 * (skewness + 0.5 * np.log(12 / 7)) / np.sqrt(12)
        seen = hall(t, skewness / np.sqrt(12), 11)
        p = {-1: seen, -2: hall(t, beyond, 11), -0.75: max(seen, hall(t, -0.75, 11))}[expected]
        assert p == max(seen, hall(t, max(-0.75, min(0.0, beyond)), 11))
        differ = np.repeat(means, 2)
        assert skewness_adjusted_p(differ, each, facts) == pytest.approx(p)
        alike = differ + np.tile([1, -1], 12) * means.std(ddof=1)  # facts differ as much: E[W] = E[V]
        assert share_of_clusters(alike, each, facts) == pytest.approx(0.0)
        assert skewness_adjusted_p(alike, each, facts) == pytest.approx(seen)


def test_skewness_of_facts_is_that_of_their_mean(rng):
    """Of 8 clusters of 400 exponential facts, whose mean has skewness 2/√3200; clusters' effects add none."""
    cluster, facts = np.repeat(np.arange(8), 400), np.arange(3200)
    x = -rng.exponential(size=3200)
    inside = x - (np.bincount(cluster, x) / 400)[cluster]
    third, square = 400 / 399 * 400 / 398 * np.sum(inside**3), 400 / 399 * np.sum(inside**2)
    assert skewness_within(inside, cluster, facts) == pytest.approx(third / square**1.5)
    assert skewness_within(inside, cluster, facts) == pytest.approx(-2 / np.sqrt(3200), rel=0.2)
    far = inside + 5.0 * np.arange(8)[cluster]  # the mean varies by clusters: facts add hardly any skewness
    assert -1e-3 < skewness_within(far, cluster, facts) < 0
    assert skewness_within(np.ones(6), np.arange(6) % 2, np.arange(6)) == 0.0


def test_share_of_clusters_by_loops(rng):
    cluster, cell = rng.integers(4, size=40), rng.integers(3, size=40)
    x = rng.normal(size=40) + cluster
    between = inside = 0.0
    for g in range(4):
        here = cluster == g
        between += np.sum(x[here] - x.mean()) ** 2 / (1 - here.mean())
        for c in np.unique(cell[here]):
            both = here & (cell == c)
            inside += np.sum(x[both] - x[here].mean()) ** 2 / (1 - both.sum() / here.sum())
    assert 0 < share_of_clusters(x, cluster, cell) == pytest.approx(1 - inside / between)
    assert share_of_clusters(x, cluster, cluster) == 1.0
    assert share_of_clusters(np.ones(40), cluster, cell) == 0.0


def test_without_spread_or_clusters_there_is_none():
    assert np.isnan(skewness_adjusted_p(np.ones(5), np.arange(5), np.arange(5)))
    assert np.isnan(skewness_adjusted_p(np.ones(5), np.zeros(5, dtype=int), np.arange(5)))


def test_it_rejects_less_where_effects_are_skewed_and_no_less_often_than_that_where_they_are_not():
    """12 relations of mean 0: flips reject 20% of log-normal effects; both together 7%, and 4% of normal."""
    rng, each = np.random.default_rng(1), np.arange(12)
    rejected = dict.fromkeys(("flips", "skewed", "normal"), 0)
    for _ in range(300):
        x, y = np.exp(0.5) - rng.lognormal(size=12), rng.standard_normal(12)
        flips = sign_flip_p(x, each, n_permutations=199, rng=rng, alternative="greater")
        rejected["flips"] += flips <= 0.05
        rejected["skewed"] += max(flips, skewness_adjusted_p(x, each, each)) <= 0.05
        rejected["normal"] += skewness_adjusted_p(y, each, each) <= 0.05
    assert rejected["flips"] >= 2 * rejected["skewed"]
    assert rejected["skewed"] <= 33  # 11%: 7.0% in 4,000 simulations
    assert 3 <= rejected["normal"] <= 27  # 1 to 9%


def test_the_mean_without_each_relation(rng):
    x, relation = rng.normal(size=30), rng.integers(4, size=30) * 10
    expected = [x[relation != name].mean() for name in np.unique(relation)]
    np.testing.assert_allclose(without_each(x, relation), expected)


def test_one_relation_has_nothing_beside_it():
    x = np.ones(3)
    assert relations_in_words(x, np.zeros(3, dtype=int)) == ()
    assert np.isnan(without_each(x, np.zeros(3, dtype=int))).all()
    assert (
        interval_of_these(x, np.zeros(3, dtype=int), 0.95)
        == interval_of_these(x[:0], np.arange(0), 0.95)
        == ()
    )


def test_slopes_without_each_relation(rng):
    x, relation = rng.normal(size=(30, 2)), rng.integers(4, size=30)
    y = x @ [2.0, -1.0] + rng.normal(size=30)
    expected = [np.linalg.lstsq(x[relation != r], y[relation != r], rcond=None)[0][0] for r in range(4)]
    np.testing.assert_allclose(slopes_without_each(y, x, relation), expected)
    low, high = (number(end) for end in (min(expected), max(expected)))
    assert slopes_in_words(y, x, relation) == (f"Without any one of the 4 relations: {low} to {high}.",)
    lone = np.where((relation == 0)[:, None], x, 0.0)  # nothing varies elsewhere
    assert np.isnan(slopes_without_each(y, lone, relation)[0])
    assert slopes_in_words(y[:5], lone[:5] * 0, relation[:5]) == ()
