"""Shares under all and under any method, and odds ratios, computed by hand."""

from itertools import permutations

import numpy as np
import pytest

from qloc.analysis.localization.across_methods import across_methods, method_pairs, of_different_facts


def test_all_and_any_method_by_hand():
    """Two relations, k alike: what different facts of relation 0 give; relation 1 has one fact, which is left out."""
    scores = {"a": np.array([0.0, 0.0, 0.9, 0.9, 0.0, np.nan]), "b": np.array([0.0, 0.9, 0.0, 0.9, 0.0, 0.0])}
    relation, answer = np.array([0, 0, 0, 0, 1, 1]), np.arange(6)
    table = across_methods(scores, 0.5, np.full(6, 4), (relation, answer)).set_index("called")
    assert table.facts.tolist() == [4, 4]
    # One of four by both, a half by each: of 12 pairs of different facts, 2 · 2 − 1 are low by a and by b.
    assert table.ki["under all methods"] == pytest.approx(1 / 4)
    assert table.expected["under all methods"] == pytest.approx(3 / 12)
    assert table.ki["under any method"] == pytest.approx(3 / 4)
    assert table.expected["under any method"] == pytest.approx(9 / 12)
    assert table.excess.tolist() == pytest.approx([0, 0])


def test_expected_is_of_different_facts(rng):
    """By brute force, three methods, two strata."""
    x, stratum = (rng.random((3, 9)) < 0.5).astype(float), np.array([0, 0, 0, 1, 1, 1, 1, 1, 0])
    for s in (0, 1):
        here = np.flatnonzero(stratum == s)
        brute = np.mean([x[0, i] * x[1, j] * x[2, m] for i, j, m in permutations(here, 3)])
        assert of_different_facts(x, stratum)[here] == pytest.approx(np.full(len(here), brute))


def test_small_strata_do_not_shrink_the_excess():
    """Two methods that agree always, half of the facts low, three facts a stratum: the excess is that of many."""
    rng = np.random.default_rng(1)
    values = rng.random(6000)
    relation, answer = np.arange(6000) // 3, np.arange(6000)
    table = across_methods({"a": values, "b": values}, 0.5, np.full(6000, 4), (relation, answer))
    assert table.excess[0] == pytest.approx(0.25, abs=0.01)  # (0.25 · 2/3 with a fact counted with itself)


def test_excess_is_centred_in_its_interval(rng):
    relation, answer = np.repeat(np.arange(10), 20), rng.integers(50, size=200)
    a = rng.random(200)
    scores = {"a": a, "b": np.where(rng.random(200) < 0.5, a, rng.random(200))}
    table = across_methods(scores, 0.4, np.full(200, 5), (relation, answer))
    assert ((table.low + table.high) / 2).tolist() == pytest.approx(table.excess.tolist())
    assert table.low[0] > 0 > table.high[1]


def test_odds_ratio_of_methods_by_hand():
    scores = {"a": np.array([0.0, 0.0, 0.9, 0.9, 0.9]), "b": np.array([0.0, 0.9, 0.9, 0.9, 0.9])}
    table = method_pairs(scores, 0.5, (np.arange(5), np.arange(5)))
    assert table.odds_ratio.tolist() == pytest.approx([(1.5 * 3.5) / (1.5 * 0.5)])
    assert table.methods.tolist() == ["a and b"]


def test_pairs_leave_out_facts_without_both_scores_only():
    scores = {name: np.full(4, 0.9) for name in "abc"}
    scores["a"][0] = scores["b"][1] = np.nan
    pairs = method_pairs(scores, 0.5, (np.arange(4), np.arange(4))).set_index("methods")
    assert pairs.facts.to_dict() == {"a and b": 2, "a and c": 3, "b and c": 3}
    one = method_pairs({"a": scores["a"]}, 0.5, (np.arange(4), np.arange(4)))
    assert (len(one), list(one)) == (0, ["methods", "odds_ratio", "low", "high", "facts"])


def test_facts_that_differ_in_k_do_not_pass_for_agreement():
    """Both methods call the facts with two queries inconsistent, and no other: by k, nothing is left to agree on."""
    k = np.repeat([2, 9], 8)
    scores = {"a": np.repeat([0.0, 0.9], 8), "b": np.repeat([0.0, 0.9], 8)}
    relation, answer = np.tile([0, 1], 8), np.arange(16)
    table = across_methods(scores, 0.5, k, (relation, answer)).set_index("called")
    assert table.ki["under all methods"] == 0.5
    assert table.excess.tolist() == [0, 0]
    blind = across_methods(scores, 0.5, np.full(16, 2), (relation, answer)).set_index("called")
    assert blind.excess.tolist() == pytest.approx([0.25 * 8 / 7, -0.25 * 8 / 7])  # n/(n − 1), n = 8


def test_no_fact_with_all_scores():
    nothing = {"a": np.array([0.1, np.nan]), "b": np.array([np.nan, 0.1])}
    table = across_methods(nothing, 0.5, np.array([3, 3]), (np.arange(2), np.arange(2)))
    assert table.facts.tolist() == [0, 0]
    assert np.isnan(table[["ki", "expected", "excess", "low", "high"]].to_numpy()).all()
