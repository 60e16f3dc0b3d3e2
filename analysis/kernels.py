"""Consistency scores as array kernels: counts in, numbers out, no labels.

Notation of methods.md §5: a fact has k non-empty sets N_i; c_n is in how many of them neuron n is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.groups import Floats, Ints, row_sums


def union_size(counts: sparse.csr_array) -> Ints:
    """|∪ N_i|: int64, (fact,). ``counts`` : int64, CSR (fact, neuron), no stored zeros."""
    return np.diff(counts.indptr).astype(np.int64)


def cs1(counts: sparse.csr_array, k: Ints) -> Floats:
    """Consistency score 1, |∩ N_i| / |∪ N_i|.

    Parameters
    ----------
    counts : int64, CSR (fact, neuron), c_n of each fact, without stored zeros.
    k : int64, (fact,), number of non-empty sets.

    Returns
    -------
    float64, (fact,), in [0, 1]; NaN where k < 2. Falls with k by construction.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.

    Examples
    --------
    >>> cs1(sparse.csr_array(np.array([[2, 1, 0], [3, 3, 1]])), np.array([2, 3])).round(3).tolist()
    [0.5, 0.667]
    """
    in_all = counts.data == np.repeat(k, np.diff(counts.indptr))
    return _ratio(row_sums(counts, in_all), union_size(counts), k)


def cs2(counts: sparse.csr_array, k: Ints) -> Floats:
    """Consistency score 2, |{n : c_n > 1}| / |∪ N_i|.

    Parameters
    ----------
    counts, k : as for :func:`cs1`.

    Returns
    -------
    float64, (fact,), in [0, 1]; NaN where k < 2. Rises with k by construction.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.

    Examples
    --------
    >>> cs2(sparse.csr_array(np.array([[2, 1, 0], [3, 2, 1]])), np.array([2, 3])).round(3).tolist()
    [0.5, 0.667]
    """
    return _ratio(row_sums(counts, counts.data > 1), union_size(counts), k)


def dice(counts: sparse.csr_array, k: Ints) -> Floats:
    """Micro-averaged pairwise Dice, D_f = Σ_n c_n(c_n − 1) / ((k − 1) Σ_n c_n); flat in k.

    Equal to Σ_{i<j} 2|N_i ∩ N_j| / Σ_{i<j} (|N_i| + |N_j|).

    Parameters
    ----------
    counts, k : as for :func:`cs1`.

    Returns
    -------
    float64, (fact,), in [0, 1]; NaN where k < 2.

    Examples
    --------
    >>> dice(sparse.csr_array(np.array([[2, 1, 0]])), np.array([2])).round(3).tolist()
    [0.667]
    """
    c = counts.data.astype(np.float64)
    return _ratio(row_sums(counts, c * (c - 1)), (k - 1) * row_sums(counts), k)


def kappa(observed: Floats, expected: Floats) -> Floats:
    """Chance-corrected overlap, (D − D_0) / (1 − D_0); NaN where D_0 is 1 or not defined.

    Parameters
    ----------
    observed, expected : float64, broadcast.

    Examples
    --------
    >>> kappa(np.array([0.6, 0.6]), np.array([0.2, 1.0])).round(3).tolist()
    [0.5, nan]
    """
    room = 1 - expected
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(room > 0, (observed - expected) / room, np.nan)


def otsu(values: NDArray[Any], weights: NDArray[Any] | None = None) -> Floats:
    """Otsu's threshold: the cut with the largest between-class variance, halfway between two values.

    Exact, over every cut between distinct values, where histograms would depend on their bins.

    Parameters
    ----------
    values : float, (n,); NaN left out.
    weights : float, (…, n), one set of weights a row (bootstrap resamples); all 1 by default.

    Returns
    -------
    float64, (…,); NaN where fewer than two distinct values have weight. Values ≥ it form the upper class.

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
    seen = mass > 0
    low = np.where(seen & (position <= cut[..., None]), position, -1).max(axis=-1)
    high = np.where(seen & (position > cut[..., None]), position, len(level)).min(axis=-1)
    return np.asarray((level[np.maximum(low, 0)] + level[np.minimum(high, len(level) - 1)]) / 2)


def _binned(w: Floats, place: NDArray[np.intp], n: int) -> Floats:
    """Total weight at each distinct value: float64, (…, n)."""
    spread = sparse.csr_array((np.ones(len(place)), (np.arange(len(place)), place)), shape=(len(place), n))
    return np.asarray(w.reshape(-1, w.shape[-1]) @ spread).reshape(*w.shape[:-1], n)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any], k: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(k >= 2, numerator / denominator, np.nan)
