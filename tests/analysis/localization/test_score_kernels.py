"""Kernels against their definitions: sets intersected, united and paired by hand."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from qloc.analysis.inference.codes import codes
from qloc.analysis.localization import consistency
from qloc.analysis.localization.neuron_counts import counts_by, squares_by

SETS = st.lists(st.frozensets(st.integers(0, 11), min_size=1, max_size=8), min_size=2, max_size=6)


def member_of(sets) -> sparse.csr_array:
    wide = np.zeros((len(sets), 12), dtype=bool)
    for row, neurons in zip(wide, sets, strict=True):
        row[list(neurons)] = True
    return sparse.csr_array(wide)


def scores(sets) -> tuple[float, float, float]:
    member = member_of(sets)
    counts = counts_by(member, np.zeros(len(sets), dtype=np.int64))
    k = np.array([len(sets)])
    return tuple(float(f(counts, k)[0]) for f in (consistency.cs1, consistency.cs2, consistency.dice))


@given(SETS)
def test_scores_are_their_definitions(sets):
    union, both = frozenset.union(*sets), frozenset.intersection(*sets)
    several = {n for n in union if sum(n in s for s in sets) > 1}
    pairs = list(combinations(sets, 2))
    dice = sum(2 * len(a & b) for a, b in pairs) / sum(len(a) + len(b) for a, b in pairs)
    expected = (len(both) / len(union), len(several) / len(union), dice)
    assert scores(sets) == pytest.approx(expected, abs=1e-15)


@given(SETS, st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_order_or_numbering(sets, random):
    number = list(range(12))
    random.shuffle(number)
    moved = [frozenset(number[n] for n in s) for s in sets]
    random.shuffle(moved)
    assert scores(moved) == pytest.approx(scores(sets), abs=1e-15)


@given(SETS)
def test_scores_lie_in_order(sets):
    cs1, cs2, dice = scores(sets)
    assert 0 <= cs1 <= cs2 <= 1
    assert 0 <= dice <= 1


def test_one_set_has_no_score():
    counts = counts_by(member_of([{1, 2}]), np.zeros(1, dtype=np.int64))
    for kernel in (consistency.cs1, consistency.cs2, consistency.dice):
        assert np.isnan(kernel(counts, np.array([1])))


def test_squares_count_the_overlaps_of_all_pairs(rng):
    member = sparse.csr_array(rng.random((9, 12)) < 0.4)
    group = np.array([0, 0, 1, 1, 1, 2, 2, 3, 3])
    within = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    wide = member.toarray().astype(int)
    expected = [
        sum(wide[i] @ wide[j] for i in range(9) for j in range(9) if group[i] == group[j] and within[i] == r)
        for r in (0, 1)
    ]
    assert squares_by(member, group, within, 2).tolist() == expected


def test_codes_tell_combinations_apart():
    a, b = np.array(["x", "x", "y", "x"]), np.array([1, 2, 1, 1])
    assert codes(a, b).tolist() == [0, 1, 2, 0]


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
    found, expected = float(consistency.otsu(x)), brute_otsu(x)
    if np.isnan(expected):
        assert np.isnan(found)
        return

    def between(cut: float) -> float:
        below, above = x[x < cut], x[x >= cut]
        return len(below) * len(above) * (below.mean() - above.mean()) ** 2

    assert between(found) == pytest.approx(between(expected), rel=1e-9)


def test_otsu_golden():
    # By hand: classes {1, 2, 3} and {10, 11, 12}: 3 · 3 · 9² = 729; any other cut gives less.
    assert float(consistency.otsu(np.array([1.0, 2, 3, 10, 11, 12]))) == 6.5


def test_otsu_weights_are_repetitions(rng):
    x = rng.random(30)
    weights = rng.integers(0, 4, size=(5, 30)).astype(float)
    repeated = [float(consistency.otsu(np.repeat(x, w.astype(int)))) for w in weights]
    assert consistency.otsu(x, weights) == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5], [np.nan, 0.2]])
def test_otsu_needs_two_values(values):
    assert np.isnan(consistency.otsu(np.array(values, dtype=float)))


def test_kappa_is_not_defined_where_chance_is_perfect():
    assert np.isnan(consistency.kappa(np.array([0.5]), np.array([1.0])))[0]
    assert np.isnan(consistency.kappa(np.array([0.5]), np.array([np.nan])))[0]
