"""Dice overlap of chosen pairs of neuron sets."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from qloc.arrays import Floats, Ints

_PIECE = 2**17
"""Pairs that are in memory at a time."""


def dice_of_rows(first: sparse.csr_array, second: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
    """Return 2|N_i ∩ M_j| / (|N_i| + |M_j|) for each pair (i, j).

    Parameters
    ----------
    first : bool CSR array, shape (query, neuron)
        The sets N.
    second : bool CSR array, shape (query, neuron)
        The sets M; the same array where pairs lie within one family of sets.
    rows : int64 ndarray, shape (pair,)
        Row i of ``first`` in each pair.
    columns : int64 ndarray, shape (pair,)
        Row j of ``second`` in each pair.

    Returns
    -------
    float64 ndarray, shape (pair,)
        Overlaps in [0, 1]; NaN where both sets are empty.

    Examples
    --------
    >>> sets = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=bool))
    >>> dice_of_rows(sets, sets, np.array([0, 0, 2]), np.array([1, 2, 2])).tolist()
    [0.5, 0.0, nan]
    """
    sizes = [np.diff(matrix.indptr).astype(np.float64) for matrix in (first, second)]
    shared = np.zeros(len(rows))
    a, b = first.astype(np.int32), second.astype(np.int32)
    for start in range(0, len(rows), _PIECE):
        piece = slice(start, start + _PIECE)
        shared[piece] = np.asarray(a[rows[piece]].multiply(b[columns[piece]]).sum(axis=1)).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * shared / (sizes[0][rows] + sizes[1][columns]))
