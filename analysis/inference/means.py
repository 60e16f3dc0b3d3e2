"""Means of what is defined, of all values or by group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Floats


def mean(values: NDArray[Any]) -> float:
    """Mean of what is defined; NaN where nothing is."""
    found = np.asarray(values, dtype=np.float64)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else float("nan")


def mean_by(values: Floats, group: NDArray[np.integer], n: int) -> Floats:
    """Mean of the values of each group, NaN where it has none: float64, (group,).

    Examples
    --------
    >>> mean_by(np.array([1.0, 2.0, 6.0]), np.array([0, 2, 2]), 3).tolist()
    [1.0, nan, 4.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(group, weights=values, minlength=n) / np.bincount(group, minlength=n))
