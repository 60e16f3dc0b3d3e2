"""Intervals of means that are bounded: shares within [0, 1], and log-probabilities below 0.

``mean ± t · error`` leaves the range of a share near 0 and 1, and has no width where all values are alike.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from scipy import special, stats

from qloc.analysis.inference.cluster_error import mean_error, t_words
from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.label_codes import codes, distinct, n_codes
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.results import Interval
from qloc.arrays import Floats, Ints

Bound = Literal["none", "share", "negative"]
"""Range of what is averaged: any number, [0, 1], or below 0."""

_ENOUGH: Final = 5.0
"""Effective facts on either side from which on the log-odds scale serves."""

_ENDS: Final = 1e-12
"""A mean this near to 0 or 1 is taken for it."""


def share_interval(
    values: Floats, clusters: tuple[Ints, ...], *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of a mean share, on the log-odds scale or exact at the effective number of facts.

    With the cluster-robust error s of the mean p, ν its degrees of freedom, and n facts::

        n* = p (1 − p) / s²                                     effective number of facts
        logit p ± t_ν s / (p (1 − p))                           where n* p and n* (1 − p) are 5 at least
        Beta quantiles of n' p and n' (1 − p)                   else (Clopper–Pearson),
            n' = n* · min(1, t_{n − 1} / t_ν)²

    Where all shares are 0, or all are 1, s tells nothing, and n* is n. Of shares that are all 0 or 1, n* is
    no more than n.

    Parameters
    ----------
    values : float64 ndarray, shape (fact,)
        Shares within [0, 1]; NaN is left out.
    clusters : tuple of int64 ndarray, shape (fact,) each
        One or two ways of clustering, the coarser first.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        Within [0, 1], of a width above 0; None where no way has two clusters.

    References
    ----------
    Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24; Clopper & Pearson 1934, Biometrika 26.

    Examples
    --------
    >>> interval = share_interval(np.zeros(18), (np.arange(18),))
    >>> interval.low, round(interval.high, 3)
    (0.0, 0.185)
    """
    keep = ~np.isnan(values)
    x = np.clip(values[keep], 0.0, 1.0)
    p = float(x.mean()) if len(x) else float("nan")
    most = float(len(x)) if np.isin(x, (0.0, 1.0)).all() else float("inf")
    return _around(p, x, tuple(code[keep] for code in clusters), confidence, most)


def ratio_share_interval(
    share: float, linear: Floats, clusters: tuple[Ints, ...], *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of a share that is a ratio of sums, Σ a/Σ b.

    Parts of facts, share + (a − share · b)/b̄, have the share as their mean, but may be anything: they give
    the error, and the interval is made of it as in :func:`share_interval`. An estimate that is not within
    (0, 1), since some a or b − a are below 0, has share ± t · error.

    Parameters
    ----------
    share : float
        Σ a/Σ b.
    linear : float64 ndarray, shape (fact,)
        The ratio linearized; NaN is left out.
    clusters : tuple of int64 ndarray, shape (fact,) each
        One or two ways of clustering, the coarser first.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        Within [0, 1] where the share is within (0, 1), which it then holds; None where no way has two
        clusters.

    Examples
    --------
    >>> a, b = np.array([1.0, -1.0, 2.0, 0.0]), np.array([2.0, 1.0, 1.0, 4.0])
    >>> interval = ratio_share_interval(0.25, 0.25 + (a - 0.25 * b) / 2, (np.arange(4),))
    >>> interval.low < 0.25 < interval.high
    True
    """
    if not _ENDS < share < 1 - _ENDS:
        return cluster_interval(linear, clusters, confidence=confidence)
    keep = ~np.isnan(linear)
    return _around(share, linear[keep], tuple(code[keep] for code in clusters), confidence, float("inf"))


def _around(
    p: float, x: Floats, clusters: tuple[Ints, ...], confidence: float, most: float
) -> Interval | None:
    """Return the interval of :func:`share_interval` about p, the mean of x; n* is at most ``most``."""
    ways = tuple(distinct([codes(code) for code in clusters])) if len(x) else ()
    if not ways:
        return None
    n = len(x)
    error, freedom = mean_error(x, ways)
    freedom = freedom if freedom > 0 else float(n_codes(ways[0]) - 1)
    tail = (1 + confidence) / 2
    t = float(special.stdtrit(freedom, tail))
    size = p * (1 - p) / error**2 if error > 0 and _ENDS < p < 1 - _ENDS else float(n)
    size = min(size, most)
    kind = "two-way" if len(ways) > 1 else "one-way"
    sizes = " and ".join(str(n_codes(way)) for way in ways)
    method = f"{kind} cluster-robust over {sizes} clusters, {t_words(freedom)}"
    if min(size * p, size * (1 - p)) >= _ENOUGH and error > 0:
        ends = np.log(p / (1 - p)) + t * error / (p * (1 - p)) * np.array([-1.0, 1.0])
        low, high = (1 / (1 + np.exp(-ends))).tolist()
        method = f"{method}, on the log-odds scale"
    else:
        size *= min(1.0, float(special.stdtrit(max(n - 1, 1), tail)) / t) ** 2
        low = 0.0 if p < _ENDS else float(stats.beta.ppf(1 - tail, size * p, size * (1 - p) + 1))
        high = 1.0 if p > 1 - _ENDS else float(stats.beta.ppf(tail, size * p + 1, size * (1 - p)))
        method = f"{method}, Clopper–Pearson at {size:.1f} effective facts"
    return Interval(low=low, high=high, confidence=confidence, method=method)


def negative_interval(
    values: Floats, clusters: tuple[Ints, ...], *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of a mean below 0, such as of log P: −exp(log(−x̄) ± t s/x̄).

    Parameters
    ----------
    values : float64 ndarray, shape (fact,)
        Values of at most 0; NaN is left out.
    clusters : tuple of int64 ndarray, shape (fact,) each
        One or two ways of clustering, the coarser first.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        Below 0; None where no way has two clusters.

    Examples
    --------
    >>> interval = negative_interval(np.array([-1.0, -2.0, -3.0]), (np.arange(3),))
    >>> round(interval.low, 1), round(interval.high, 1)
    (-6.9, -0.6)
    """
    plain = cluster_interval(values, clusters, confidence=confidence)
    mean = float(np.nanmean(values)) if plain else 0.0
    if plain is None or not mean < 0:
        return plain
    reach = float(np.exp((plain.high - plain.low) / 2 / -mean))
    method = f"{plain.method}, on the scale of log(−x)"
    return Interval(low=mean * reach, high=mean / reach, confidence=confidence, method=method)


def bounded_intervals(
    values: Floats, clusters: tuple[Ints, ...], bounds: tuple[Bound, ...], *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return intervals of the means of columns, each within its range.

    Parameters
    ----------
    values : float64 ndarray, shape (fact, column)
        NaN is left out, column by column.
    clusters : tuple of int64 ndarray, shape (fact,) each
        One or two ways of clustering, the coarser first.
    bounds : tuple of {"none", "share", "negative"}
        Range of each column; of any number ("none", and the last columns where these are more), with ends
        that allow for skewness (:func:`qloc.analysis.inference.skewed_interval.skewed_interval`).
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    low, high : float64 ndarray, shape (column,)
        NaN where no way has two clusters, or these do not differ and nothing bounds the mean.
    """
    low, high = np.full((2, values.shape[1]), np.nan)
    bounds += ("none",) * (values.shape[1] - len(bounds))
    make = {"none": skewed_interval, "share": share_interval, "negative": negative_interval}
    for place, (column, bound) in enumerate(zip(values.T, bounds, strict=True)):
        if ends := make[bound](column, clusters, confidence=confidence):
            low[place], high[place] = ends.low, ends.high
    return low, high
