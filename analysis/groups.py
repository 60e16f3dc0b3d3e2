"""Labels as codes, and counts of neurons by group: the sparse products behind every score.

A group's *counts* are a sparse (group, neuron) matrix: in how many of the group's sets each neuron is. Sums
of squares of counts give the overlap of all pairs of sets at once: Σ_n c_n² = Σ_i Σ_j |N_i ∩ N_j|.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def codes(*columns: NDArray[Any]) -> Ints:
    """Number every combination of labels, from 0, in sorted order.

    Parameters
    ----------
    columns : (n,) each; one at least.

    Returns
    -------
    int64, (n,)

    Examples
    --------
    >>> codes(np.array(["b", "a", "b"]), np.array([1, 1, 2])).tolist()
    [1, 0, 2]
    """
    out = np.unique(columns[0], return_inverse=True)[1].astype(np.int64)
    for column in columns[1:]:
        inner = np.unique(column, return_inverse=True)[1]
        out = np.unique(out * (int(inner.max(initial=0)) + 1) + inner, return_inverse=True)[1].astype(
            np.int64
        )
    return out


def n_codes(code: NDArray[np.integer[Any]]) -> int:
    """Number of codes that count from 0."""
    return int(code.max(initial=-1)) + 1


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


def sizes_of(code: Ints) -> Ints:
    """Number of members of the group that each member is in: int64, (n,)."""
    return np.bincount(code)[code] if len(code) else np.zeros(0, dtype=np.int64)
