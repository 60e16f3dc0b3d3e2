"""Dice of chosen pairs against sets intersected one by one."""

import numpy as np
import pytest
from scipy import sparse

from qloc.analysis.localization.overlap.pairwise_dice import dice_of_rows


def dice(a, b):
    return 2 * len(a & b) / (len(a) + len(b))


def as_sets(sets):
    return [set(sets.of(query).tolist()) for query in range(sets.n_queries)]


def test_dice_of_rows(planted):
    rows, columns = np.array([0, 3, 5]), np.array([1, 3, 9])
    sets = as_sets(planted)
    overlaps = dice_of_rows(planted.member, planted.member, rows, columns)
    assert overlaps.tolist() == pytest.approx(
        [dice(sets[i], sets[j]) for i, j in zip(rows, columns, strict=True)]
    )


def test_pairs_of_two_families_in_pieces(rng, monkeypatch):
    first, second = (rng.random((12, 20)) < share for share in (0.3, 0.1))
    first[0] = second[0] = False
    rows, columns = rng.integers(12, size=(2, 50))
    rows[0] = columns[0] = 0
    shared = np.sum(first[rows] & second[columns], axis=1)
    with np.errstate(invalid="ignore"):
        expected = 2 * shared / (first[rows].sum(axis=1) + second[columns].sum(axis=1))
    assert np.isnan(expected[0])
    for piece in (7, 10**6):
        monkeypatch.setattr("qloc.analysis.localization.overlap.pairwise_dice._PIECE", piece)
        overlaps = dice_of_rows(sparse.csr_array(first), sparse.csr_array(second), rows, columns)
        assert overlaps == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_no_pairs(planted):
    none = np.zeros(0, dtype=int)
    assert dice_of_rows(planted.member, planted.member, none, none).shape == (0,)
