"""One p for a specification curve: by enumeration, one choice as by flips, and its level."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.resampling import sign_flip_p
from qloc.analysis.localization.specification_curve import curve_test


def test_every_flip_is_enumerated_where_there_are_few(rng):
    values, cluster = rng.normal(0.3, 1, size=(5, 24)), np.repeat(np.arange(6), 4)
    sums = np.stack([np.bincount(cluster, row - 0.1) for row in values])

    def median(signs: np.ndarray) -> float:
        return float(np.median([np.sum(signs * row) / np.sqrt(np.sum(row**2)) for row in sums]))

    observed = median(np.ones(6))
    expected = np.mean([median(np.array(signs)) >= observed - 1e-9 for signs in product((1, -1), repeat=6)])
    found = curve_test(values, cluster, least=0.1, n_permutations=99, rng=rng)
    assert found.p == pytest.approx(expected)
    assert found.median == pytest.approx(np.median(values.mean(axis=1)))
    assert found.choices == 5


def test_one_choice_has_the_p_of_flips(rng):
    x, cluster = rng.normal(0.4, 1, size=40), np.repeat(np.arange(20), 2)
    found = curve_test(x[None, :], cluster, least=0.0, n_permutations=499, rng=np.random.default_rng(1))
    expected = sign_flip_p(
        x, cluster, n_permutations=499, rng=np.random.default_rng(1), alternative="greater"
    )
    assert found.p == pytest.approx(expected)


def test_missing_values_and_choices_without_two_clusters(rng):
    x = rng.normal(1, 1, size=12)
    values = np.stack(
        [
            x,
            np.where(np.arange(12) < 10, x, np.nan),
            np.full(12, np.nan),
            np.where(np.arange(12) < 1, x, np.nan),
        ]
    )
    found = curve_test(values, np.arange(12), least=0.0, n_permutations=99, rng=rng)
    assert found.choices == 2
    nothing = curve_test(values[2:], np.arange(12), least=0.0, n_permutations=99, rng=rng)
    assert (nothing.choices, np.isnan(nothing.p), np.isnan(nothing.median)) == (0, True, True)


def test_choices_that_share_their_data_keep_the_level(rng):
    """Ten choices of one null, with noise of their own: 400 studies; 99% bound of 5%."""
    rejected = 0
    for _ in range(400):
        x = rng.normal(size=40) + rng.normal(size=10)[np.arange(40) % 10]
        values = x + 0.3 * rng.normal(size=(10, 40))
        rejected += curve_test(values, np.arange(40) % 10, least=0.0, n_permutations=99, rng=rng).p <= 0.05
    assert stats.binomtest(rejected, 400, 0.05).pvalue > 0.01
