"""Means that leave undefined values out: of one array, or by group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Floats


def mean(values: NDArray[Any]) -> float:
    """Return the mean of the values that are defined.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Numbers; NaN is left out.

    Returns
    -------
    float
        NaN where no value is defined.

    Examples
    --------
    >>> mean(np.array([1.0, np.nan, 4.0]))
    2.5
    """
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    return float(defined.mean()) if len(defined) else float("nan")


def mean_by(values: Floats, group: NDArray[np.integer], n: int) -> Floats:
    """Return the mean of each group's values.

    Parameters
    ----------
    values : float64 ndarray, shape (n_values,)
        A NaN makes its group's mean NaN.
    group : integer ndarray, shape (n_values,)
        Each value's group, from 0 to ``n`` − 1.
    n : int
        Number of groups.

    Returns
    -------
    float64 ndarray, shape (n,)
        NaN for a group without values.

    Examples
    --------
    >>> mean_by(np.array([1.0, 2.0, 6.0]), np.array([0, 2, 2]), 3).tolist()
    [1.0, nan, 4.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(group, weights=values, minlength=n) / np.bincount(group, minlength=n))
