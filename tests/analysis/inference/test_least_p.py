"""The least p of tests, against all that they can give."""

import itertools

import numpy as np
import pytest

from qloc.analysis.inference.least_p import flip_clusters, least_flip_p, least_permutation_p, too_few
from qloc.analysis.inference.resampling import sign_flip_p


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
@pytest.mark.parametrize("n", [2, 4, 7])
def test_effects_of_one_sign_reach_it_where_flips_are_enumerated(n, alternative):
    effects = np.arange(1.0, n + 1)
    signs = np.array(list(itertools.product([1, -1], repeat=n)))
    means = signs @ effects / n
    observed = effects.mean()
    beyond = np.abs(means) >= observed if alternative == "two-sided" else means >= observed
    assert least_flip_p(n, 999, alternative) == pytest.approx(beyond.mean())


def test_drawn_flips_are_bounded_by_their_number():
    assert least_flip_p(10, 999) == least_permutation_p(999) == pytest.approx(1 / 1000)
    assert least_flip_p(9, 999) == 2.0**-9
    assert least_flip_p(0, 999, "two-sided") == 1.0


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
    assert [too_few(n) for n in (5, 6)] == [True, False]
