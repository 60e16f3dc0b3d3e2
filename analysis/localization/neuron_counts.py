"""Counts of neurons by group of queries: the sparse products behind every score.

A group's *counts* say in how many of the group's sets each neuron is: a sparse (group, neuron) matrix. The
sum of its squared counts is the overlap of all pairs of its sets at once: Σ_n c_n² = Σ_i Σ_j |N_i ∩ N_j|.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inference.label_codes import n_codes
from qloc.arrays import Floats, Ints


def counts_by(member: sparse.csr_array, code: Ints, n_groups: int | None = None) -> sparse.csr_array:
    """Count in how many of each group's sets each neuron is.

    Parameters
    ----------
    member : bool CSR array, shape (query, neuron)
        A row is the set of a query.
    code : int64 ndarray, shape (query,)
        Group of each query, counted from 0.
    n_groups : int or None
        Number of groups, where there may be some without a query; by default, the largest code and one.

    Returns
    -------
    int64 CSR array, shape (group, neuron)
        Counts, without stored zeros.

    Examples
    --------
    >>> sets = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=bool))
    >>> counts_by(sets, np.array([0, 0, 1])).toarray().tolist()
    [[1, 2, 0], [0, 0, 1]]
    """
    n = len(code)
    rows = n_codes(code) if n_groups is None else n_groups
    indicator = sparse.csr_array((np.ones(n, dtype=np.int64), (code, np.arange(n))), shape=(rows, n))
    return sparse.csr_array(indicator @ member.astype(np.int64))


def row_sums(matrix: sparse.csr_array, values: NDArray[Any] | None = None) -> Floats:
    """Return the sum of each row of a sparse matrix.

    Parameters
    ----------
    matrix : CSR array, shape (row, column)
        Its stored entries are summed.
    values : ndarray, shape (entry,), or None
        Values to sum in place of the stored entries, in their order.

    Returns
    -------
    float64 ndarray, shape (row,)
        Sums; 0 for rows without an entry.

    Examples
    --------
    >>> matrix = sparse.csr_array(np.array([[2, 0, 3], [0, 0, 0], [0, 4, 0]]))
    >>> row_sums(matrix).tolist(), row_sums(matrix, matrix.data > 2).tolist()
    ([5.0, 0.0, 4.0], [1.0, 0.0, 1.0])
    """
    data = matrix.data if values is None else values
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.asarray(
        np.bincount(row, weights=data.astype(np.float64), minlength=matrix.shape[0]), dtype=np.float64
    )


def squares_by(member: sparse.csr_array, code: Ints, within: Ints, n_within: int) -> Floats:
    """Return the sum of squared counts of all groups that lie in each wider group.

    Parameters
    ----------
    member : bool CSR array, shape (query, neuron)
        A row is the set of a query.
    code : int64 ndarray, shape (query,)
        Group of each query.
    within : int64 ndarray, shape (query,)
        Wider group of each query; queries of one group have the same.
    n_within : int
        Number of wider groups.

    Returns
    -------
    float64 ndarray, shape (wider group,)
        Σ over groups and neurons of c_n², which is Σ |N_i ∩ N_j| over ordered pairs of queries of one group.

    Examples
    --------
    >>> sets = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=bool))
    >>> squares_by(sets, np.array([0, 0, 1]), np.array([0, 0, 0]), 1).tolist()
    [6.0]
    """
    counts = counts_by(member, code)
    wider = np.zeros(counts.shape[0], dtype=np.int64)
    wider[code] = within
    squares = row_sums(counts, counts.data.astype(np.float64) ** 2)
    return np.asarray(np.bincount(wider, weights=squares, minlength=n_within), dtype=np.float64)
