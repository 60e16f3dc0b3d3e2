"""Otsu's threshold, which splits values into two classes wherever they split best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arrays import Floats


def otsu(values: NDArray[Any], weights: NDArray[Any] | None = None) -> Floats:
    """Return the cut with the largest between-class variance, halfway between two values.

    The cut is exact: every cut between distinct values is tried, where a histogram depends on its bins.

    Parameters
    ----------
    values : float ndarray, shape (n,)
        NaN are left out.
    weights : float ndarray, shape (…, n), or None
        One set of weights a row, such as those of bootstrap resamples; all 1 by default.

    Returns
    -------
    float64 ndarray, shape (…,)
        Values at or above the cut form the upper class. NaN where fewer than two distinct values have weight.

    References
    ----------
    Otsu 1979, "A threshold selection method from gray-level histograms", eq. 18.

    Examples
    --------
    >>> float(otsu(np.array([0.1, 0.2, 0.1, 0.8, 0.9])))
    0.5
    """
    values = np.asarray(values, dtype=np.float64)
    w = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    level, place = np.unique(values[~np.isnan(values)], return_inverse=True)
    w = w[..., ~np.isnan(values)]
    if len(level) < 2:
        return np.full(w.shape[:-1], np.nan)
    mass = _binned(w, place, len(level))
    below = np.cumsum(mass, axis=-1)[..., :-1]
    total = mass.sum(axis=-1, keepdims=True)
    moment = np.cumsum(mass * level, axis=-1)
    above = total - below
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = moment[..., :-1] / below - (moment[..., -1:] - moment[..., :-1]) / above
        between = np.where(
            (below > 0) & (above > 0.5 * np.min(w, where=w > 0, initial=1.0)), below * above * gap**2, -1.0
        )
    cut = between.argmax(axis=-1)
    middle = _halfway(level, mass, cut)
    return np.where(between.max(axis=-1) > 0, middle, np.nan)


def _halfway(level: Floats, mass: Floats, cut: NDArray[np.intp]) -> Floats:
    """Halfway between the last value with weight at or below the cut, and the first above it."""
    position = np.arange(len(level))
    weighted = mass > 0
    low = np.where(weighted & (position <= cut[..., None]), position, -1).max(axis=-1)
    high = np.where(weighted & (position > cut[..., None]), position, len(level)).min(axis=-1)
    return np.asarray((level[np.maximum(low, 0)] + level[np.minimum(high, len(level) - 1)]) / 2)


def _binned(w: Floats, place: NDArray[np.intp], n: int) -> Floats:
    """Total weight at each distinct value: float64, (…, n)."""
    bins = sparse.csr_array((np.ones(len(place)), (np.arange(len(place)), place)), shape=(len(place), n))
    return np.asarray(w.reshape(-1, w.shape[-1]) @ bins).reshape(*w.shape[:-1], n)
