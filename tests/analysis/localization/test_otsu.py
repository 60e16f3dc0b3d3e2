"""Otsu's threshold against every cut, by hand, and with weights for repetitions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.analysis.localization.otsu import otsu


def brute_otsu(values: np.ndarray) -> float:
    best, at = -1.0, np.nan
    levels = np.unique(values)
    for low, high in pairwise(levels):
        below, above = values[values <= low], values[values >= high]
        between = len(below) * len(above) * (below.mean() - above.mean()) ** 2
        if between > best * (1 + 1e-12):
            best, at = between, (low + high) / 2
    return at


@given(st.lists(st.integers(0, 30), min_size=2, max_size=40))
def test_otsu_is_the_best_of_all_cuts(values):
    x = np.array(values) / 30
    cut, expected = float(otsu(x)), brute_otsu(x)
    if np.isnan(expected):
        assert np.isnan(cut)
        return

    def between(cut: float) -> float:
        below, above = x[x < cut], x[x >= cut]
        return len(below) * len(above) * (below.mean() - above.mean()) ** 2

    assert between(cut) == pytest.approx(between(expected), rel=1e-9)


def test_otsu_golden():
    # By hand: classes {1, 2, 3} and {10, 11, 12}: 3 · 3 · 9² = 729; any other cut gives less.
    assert float(otsu(np.array([1.0, 2, 3, 10, 11, 12]))) == 6.5


def test_otsu_weights_are_repetitions(rng):
    x = rng.random(30)
    weights = rng.integers(0, 4, size=(5, 30)).astype(float)
    repeated = [float(otsu(np.repeat(x, w.astype(int)))) for w in weights]
    assert otsu(x, weights) == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5], [np.nan, 0.2]])
def test_otsu_needs_two_values(values):
    assert np.isnan(otsu(np.array(values, dtype=float)))
