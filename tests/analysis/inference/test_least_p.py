"""The least p of tests, against all that they can give."""

import itertools

import numpy as np
import pytest

from qloc.analysis.inference.least_p import least_flip_p, least_permutation_p


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
