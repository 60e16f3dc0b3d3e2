"""Paired tests and slopes: flips by enumeration, levels that few relations can reach, two-way errors."""

from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import flip_clusters, log_odds, paired_p, paired_test
from qloc.analysis.inference.resampling import sign_flip_p
from qloc.analysis.inference.shared_answers import crossed_error
from qloc.analysis.inference.slope_test import slope_test

SIZE = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}
FEW = {"draws": Draws(n_permutations=99)}


def test_log_odds_are_those_of_scipy_and_end_where_float32_does():
    p = np.array([1e-9, 0.2, 0.5, 0.99])
    assert log_odds(np.log(p)) == pytest.approx(special.logit(p))
    assert log_odds(np.array([0.0], dtype=np.float32))[0] == pytest.approx(np.log(2.0**24), rel=1e-6)
    assert np.isnan(log_odds(np.array([np.nan]))[0])


def test_one_sided_flips_by_brute_force(rng):
    x, cluster = rng.normal(0.5, 1, 12), np.repeat(np.arange(6), 2)
    sums = [x[cluster == g].sum() for g in range(6)]
    totals = [np.dot(signs, sums) for signs in product([1, -1], repeat=6)]
    p = sign_flip_p(x, cluster, n_permutations=99, rng=rng, alternative="greater")
    assert p == np.mean(np.array(totals) >= sum(sums) - 1e-9)
    many = sign_flip_p(x, np.arange(12), n_permutations=999, rng=rng, alternative="greater")
    below = sign_flip_p(-x, np.arange(12), n_permutations=999, rng=rng, alternative="greater")
    assert many + below == pytest.approx(1, abs=0.06)  # 999 draws


def test_few_relations_are_flipped_by_answers_within_them():
    relation, answer = np.repeat(np.arange(5), 4), np.tile([0, 0, 1, 2], 5)
    flipped, words = flip_clusters(relation, answer)
    assert (len(np.unique(flipped)), "15" in words, "these relations only" in words) == (15, True, True)
    flipped, words = flip_clusters(np.arange(6), np.zeros(6, dtype=int))
    assert (len(np.unique(flipped)), words) == (6, "signs of whole relations flipped (6)")


def test_few_relations_are_those_whose_flips_cannot_reach_the_level():
    """By enumeration: the least p of all flips of G relations, which agree on the sign, against the level."""
    for level in (0.05, 0.05 / 4, 0.05 / 12, 0.01):
        for n in range(2, 11):
            x, relation = np.ones(n), np.arange(n)
            least = sign_flip_p(x, relation, n_permutations=2**10, rng=np.random.default_rng(0))
            words = flip_clusters(relation, relation, level)[1]
            assert ("these relations only" in words) == (least > level), (n, level)


def test_answers_across_relations_count(rng):
    """One answer's effect in every relation: no flip of relations knows that it is one draw."""
    relation, answer = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    x = np.tile([3.0, 3.0, -1.0, -1.0], 8) + 0.01 * rng.normal(size=32)
    alone = sign_flip_p(x, relation, n_permutations=999, rng=rng, alternative="greater")
    p, words = paired_p(x, (relation, answer), n_permutations=999, rng=rng)
    error, freedom = crossed_error(x, relation, answer)
    assert alone < 0.01
    assert p == pytest.approx(stats.t.sf(x.mean() / error, freedom))
    assert freedom == pytest.approx(3)
    assert (p > 0.1, "answers cross relations" in words) == (True, True)
    for same, expected in ((0.0, 1.0), (2.0, 1 / 2**8)):  # without spread: all 2⁸ flips alone tell
        found = paired_p(np.full(32, same), (relation, answer), n_permutations=999, rng=rng)[0]
        assert found == expected


def test_no_difference_is_shown_by_equivalence_only(rng):
    clusters = np.repeat(np.arange(8), 10), np.arange(80)
    text = {"name": "T", "question": "?", "estimand": "difference", "draws": Draws(n_permutations=99)}
    small = paired_test(0.05 * rng.normal(size=80), clusters, **text, margin=0.1)
    wide = paired_test(2 * rng.normal(size=80) - 0.3, clusters, **text, margin=0.1)
    assert (small.verdict, wide.verdict) == ("does not hold", "undecided")
    nothing = paired_test(np.full(80, np.nan), clusters, **text)
    assert (nothing.verdict, nothing.p, nothing.n["facts"]) == ("not identified", None, 0)


def test_a_coefficient_on_ones_is_the_mean(rng):
    """And where answers cross relations, p and interval are those of the two-way error, if that is wider."""
    y, relation, answer = rng.normal(1, 1, 60), np.repeat(np.arange(6), 10), np.tile(np.arange(3), 20)
    y += np.array([1.0, 0.0, -1.0])[answer]
    text = {"name": "T", "question": "?", "estimand": "mean", "draws": Draws(n_bootstrap=99)}
    ones = {"intercept": np.ones(60)}
    found = slope_test(y, ones, (relation, answer), **text, inside=False, direction="above")
    error, freedom = crossed_error(y, relation, answer)
    assert found.estimate == pytest.approx(y.mean())
    assert found.p == pytest.approx(stats.t.sf(y.mean() / error, freedom))
    assert found.interval.low == pytest.approx(y.mean() - stats.t.ppf(0.975, freedom) * error)
    one_way = slope_test(y, ones, (relation, np.arange(60)), **text, inside=False)
    assert one_way.interval.high < found.interval.high
    below = slope_test(y, ones, (relation, np.arange(60)), **text, inside=False, direction="below")
    assert below.p == pytest.approx(1 - one_way.p / 2)
    gone = slope_test(y, ones, (np.zeros(60, dtype=int), answer), **text, inside=False)
    assert (gone.verdict, gone.p) == ("not identified", None)
