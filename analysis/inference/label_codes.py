"""Labels as codes: integers that number the groups of facts, from 0, in the sorted order of their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Ints


def codes(*columns: NDArray[Any]) -> Ints:
    """Number every combination of labels, from 0, in sorted order.

    Parameters
    ----------
    *columns : ndarray, shape (n,) each
        Labels of any type that sorts; one column at least.

    Returns
    -------
    int64 ndarray, shape (n,)
        Equal where all columns are equal; every number below the largest is used.

    Examples
    --------
    >>> codes(np.array(["b", "a", "b"]), np.array([1, 1, 2])).tolist()
    [1, 0, 2]
    """
    if len(columns) == 1 and _is_code(columns[0]):
        return columns[0].astype(np.int64)
    code = np.unique(columns[0], return_inverse=True)[1].astype(np.int64)
    for column in columns[1:]:
        inner = np.unique(column, return_inverse=True)[1]
        combined = code * (int(inner.max(initial=0)) + 1) + inner
        code = np.unique(combined, return_inverse=True)[1].astype(np.int64)
    return code


def _is_code(column: NDArray[Any]) -> bool:
    """Whether integers are codes already: they count from 0, and each below the largest is used."""
    if column.dtype.kind not in "iu" or not len(column) or column.min() < 0 or column.max() >= len(column):
        return False
    return bool(np.bincount(column).all())


def n_codes(code: NDArray[np.integer[Any]]) -> int:
    """Return the number of groups.

    Parameters
    ----------
    code : integer ndarray, shape (n,)
        Codes that count from 0.

    Returns
    -------
    int
        0 without members.

    Examples
    --------
    >>> n_codes(np.array([1, 0, 2, 1]))
    3
    """
    return int(code.max(initial=-1)) + 1


def sizes_of(code: Ints) -> Ints:
    """Return, for each member, the size of its group.

    Parameters
    ----------
    code : int64 ndarray, shape (n,)
        Codes that count from 0.

    Returns
    -------
    int64 ndarray, shape (n,)
        How many members have the member's own code.

    Examples
    --------
    >>> sizes_of(np.array([1, 0, 1])).tolist()
    [2, 1, 2]
    """
    return np.bincount(code)[code] if len(code) else np.zeros(0, dtype=np.int64)


def distinct(ways: list[Ints]) -> list[Ints]:
    """Return the ways of clustering that have two clusters or more, each once.

    Parameters
    ----------
    ways : list of int64 ndarray, shape (n,) each
        Codes that count from 0, as :func:`codes` numbers them.

    Returns
    -------
    list of int64 ndarray
        In order; a way that clusters like an earlier one is left out.
    """
    kept: list[Ints] = []
    for code in ways:
        if n_codes(code) > 1 and not any(np.array_equal(code, other) for other in kept):
            kept.append(code)
    return kept


def crossed(relation: Ints, answer: Ints) -> bool:
    """Return whether some answer occurs in more than one relation: sign flips of whole relations miss that.

    Parameters
    ----------
    relation, answer : int64 ndarray, shape (fact,)
        Relation and answer of each fact, as codes.

    Returns
    -------
    bool
        False where there are fewer than two relations.

    Examples
    --------
    >>> crossed(np.array([0, 0, 1]), np.array([0, 1, 1])), crossed(np.array([0, 0, 1]), np.array([0, 1, 2]))
    (True, False)
    """
    if not len(relation) or n_codes(codes(relation)) < 2:
        return False
    return n_codes(codes(relation, answer)) > n_codes(codes(answer))
