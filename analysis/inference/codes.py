"""Labels as codes, and counts of neurons by group: the sparse products behind every score.

A group's *counts* are a sparse (group, neuron) matrix: in how many of the group's sets each neuron is. Sums
of squares of counts give the overlap of all pairs of sets at once: Σ_n c_n² = Σ_i Σ_j |N_i ∩ N_j|.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Ints


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


def sizes_of(code: Ints) -> Ints:
    """Number of members of the group that each member is in: int64, (n,)."""
    return np.bincount(code)[code] if len(code) else np.zeros(0, dtype=np.int64)
