"""Counts of neurons by group: the sparse products behind every score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inference.codes import n_codes
from qloc.arrays import Floats, Ints


def counts_by(member: sparse.csr_array, code: Ints, n_groups: int | None = None) -> sparse.csr_array:
    """In how many of each group's sets each neuron is.

    Parameters
    ----------
    member : bool, CSR (query, neuron)
    code : int64, (query,)

    Returns
    -------
    int64, CSR (group, neuron)

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
    """Sum of each row of a CSR matrix, of its own data or of ``values`` in their place: float64, (row,)."""
    data = matrix.data if values is None else values
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.asarray(
        np.bincount(row, weights=data.astype(np.float64), minlength=matrix.shape[0]), dtype=np.float64
    )


def squares_by(member: sparse.csr_array, code: Ints, within: Ints, n_within: int) -> Floats:
    """Σ over groups and neurons of squared counts, added up over the wider groups that hold them.

    Parameters
    ----------
    code : int64, (query,); the groups.
    within : int64, (query,); the wider group of each query, constant within a group.

    Returns
    -------
    float64, (wider group,)
    """
    counts = counts_by(member, code)
    wider = np.zeros(counts.shape[0], dtype=np.int64)
    wider[code] = within
    squares = row_sums(counts, counts.data.astype(np.float64) ** 2)
    return np.asarray(np.bincount(wider, weights=squares, minlength=n_within), dtype=np.float64)
