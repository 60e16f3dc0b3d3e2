"""Dice overlaps of given pairs of sets, and their means over each fact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.groups import Floats, Ints

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


def mean_by(values: Floats, group: NDArray[np.integer], n: int) -> Floats:
    """Mean of the values of each group, NaN where it has none: float64, (group,).

    Examples
    --------
    >>> mean_by(np.array([1.0, 2.0, 6.0]), np.array([0, 2, 2]), 3).tolist()
    [1.0, nan, 4.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(group, weights=values, minlength=n) / np.bincount(group, minlength=n))
