"""Counts by group against sums over pairs of sets."""

import numpy as np
from scipy import sparse

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.neuron_counts import counts_by, row_sums, squares_by


def test_counts_are_sums_of_rows(rng):
    wide = rng.random((9, 12)) < 0.4
    group = np.array([2, 0, 0, 3, 2, 0, 3, 3, 2])
    expected = [wide[group == g].sum(axis=0).tolist() for g in range(5)]
    counts = counts_by(sparse.csr_array(wide), group, 5)
    assert counts.toarray().tolist() == expected
    assert counts.dtype == np.int64
    assert (counts.data > 0).all()
    assert counts_by(sparse.csr_array(wide), group).shape == (4, 12)


def test_row_sums_of_entries_or_of_values_in_their_place(rng):
    matrix = sparse.csr_array(rng.integers(0, 3, size=(6, 8)))
    assert row_sums(matrix).tolist() == matrix.toarray().sum(axis=1).tolist()
    assert row_sums(matrix, matrix.data == 2).tolist() == (matrix.toarray() == 2).sum(axis=1).tolist()
    assert row_sums(sparse.csr_array((3, 4))).tolist() == [0, 0, 0]


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
