"""Scores over all k₀-subsets: the transform equals enumeration, and enumeration equals the definition."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from qloc.analysis.localization import query_subsets
from qloc.analysis.localization.query_subsets import subset_scores


def brute(rows: np.ndarray, size: int, threshold: float) -> list[float]:
    scores = []
    for chosen in combinations(range(len(rows)), size):
        count = rows[list(chosen)].sum(axis=0)
        union = np.sum(count > 0)
        scores.append((np.sum(count == size) / union, np.sum(count > 1) / union))
    one, two = np.array(scores).T
    return [np.mean(one < threshold), np.mean(two < threshold), one.mean(), two.mean()]


def scored(member, fact, n_facts, sizes, threshold) -> np.ndarray:
    scores = subset_scores(sparse.csr_array(member), fact, n_facts, sizes, threshold)
    return np.stack([scores.below_cs1, scores.below_cs2, scores.mean_cs1, scores.mean_cs2])


@given(st.integers(2, 7), st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.5]))
def test_every_subset_is_counted(k, seed, threshold):
    rng = np.random.default_rng(seed)
    wide = rng.random((k, 10)) < 0.4
    wide[~wide.any(axis=1), 0] = True
    sizes = list(range(2, k + 1))
    means = scored(wide, np.zeros(k, dtype=int), 1, sizes, threshold)
    expected = np.array([brute(wide.astype(int), size, threshold) for size in sizes]).T
    assert means[:, 0] == pytest.approx(expected, abs=1e-12)


def test_many_facts_at_once_with_empty_sets_and_different_k(rng):
    fact = np.repeat(np.arange(30), rng.integers(1, 9, 30))
    wide = rng.random((len(fact), 20)) < 0.15
    means = scored(wide, fact, 32, [2, 3, 4], 0.3)
    for number in range(32):
        rows = wide[(fact == number) & wide.any(axis=1)].astype(int)
        for place, size in enumerate((2, 3, 4)):
            if len(rows) < size:
                assert np.isnan(means[:, number, place]).all()
            else:
                assert means[:, number, place] == pytest.approx(brute(rows, size, 0.3), abs=1e-12)


@pytest.mark.parametrize("k", [9, 13])
def test_transform_equals_enumeration(rng, monkeypatch, k):
    wide = rng.random((2 * k, 40)) < 0.3
    fact = np.repeat([0, 1], k)
    fast = scored(wide, fact, 2, [2, 3, k - 2, k], 0.3)
    monkeypatch.setattr(query_subsets, "LARGEST_TRANSFORM", 1)
    assert fast == pytest.approx(scored(wide, fact, 2, [2, 3, k - 2, k], 0.3), abs=1e-12)


def test_more_queries_than_bits(rng):
    wide = rng.random((70, 30)) < 0.2
    means = scored(wide, np.zeros(70, dtype=int), 1, [2, 3, 5], 0.1)
    rows = wide[wide.any(axis=1)].astype(int)
    assert means[:, 0, 0] == pytest.approx(brute(rows, 2, 0.1), abs=1e-12)
    assert np.isfinite(means[:, 0, 1]).all()
    assert np.isnan(means[:, 0, 2]).all()  # 12 million subsets: not counted, and not guessed


def test_no_sets_at_all():
    assert np.isnan(scored(np.zeros((3, 4), dtype=bool), np.zeros(3, dtype=int), 2, [2, 3], 0.1)).all()
