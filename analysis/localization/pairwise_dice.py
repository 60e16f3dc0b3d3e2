"""Dice overlaps of given pairs of sets, and their means over each fact."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from qloc.arrays import Floats, Ints

_PIECE = 2**17
"""Pairs that are in memory at a time."""


def dice_of_rows(first: sparse.csr_array, second: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
    """2|N_i ∩ M_j| / (|N_i| + |M_j|) for pairs (rows[p], columns[p]): float64, (pair,).

    NaN where both are empty.

    Parameters
    ----------
    first, second : bool, CSR (query, neuron); the same for pairs within one family of sets.
    """
    sizes = [np.diff(matrix.indptr).astype(np.float64) for matrix in (first, second)]
    shared = np.zeros(len(rows))
    a, b = first.astype(np.int32), second.astype(np.int32)
    for start in range(0, len(rows), _PIECE):
        here = slice(start, start + _PIECE)
        shared[here] = np.asarray(a[rows[here]].multiply(b[columns[here]]).sum(axis=1)).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * shared / (sizes[0][rows] + sizes[1][columns]))
