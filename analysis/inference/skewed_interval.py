"""Intervals of means whose clusters or facts are skewed: ends are farther on the side of what is missing.

Of rare large effects most samples hold too few, so that a mean is too far from them, and its error too small.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from qloc.analysis.inference.cluster_error import effective_number, mean_error
from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.label_codes import codes, distinct
from qloc.analysis.inference.relation_effects import skewness_of, skewness_within, within_clusters
from qloc.analysis.results import Interval
from qloc.arrays import Floats, Ints

_LEAST: Final = 1 / 64
"""Least 1 + a (t − a/6): an end is no more than 2.5 times as far as that of t."""


def skewed_interval(
    values: Floats, clusters: tuple[Ints, ...], *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of a mean whose ends allow for the skewness seen.

    An end is as far as Hall's transformed t reaches the quantile t of the cluster-robust interval, and no
    nearer than that is::

        x̄ − s · (3/a) [(1 + a (t − a/6))^(1/3) − 1]

    for the lower end, with a below 0 the skewness of the mean: γ/√G of G effective relations (answers, where
    there is one relation), or the part that is of facts, whichever is lower, but no lower than where
    1 + a (t − a/6) is 1/64; likewise for the upper end with −a. Paired tests take p from the same.

    Parameters
    ----------
    values : float64 ndarray, shape (n,)
        NaN is left out.
    clusters : tuple of int64 ndarray, shape (n,) each
        Relation and answer of each value, or one of both.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        As of :func:`qloc.analysis.inference.cluster_intervals.cluster_interval`, which it holds.

    References
    ----------
    Hall 1992, "On the removal of skewness by transformation", JRSS B 54. docs/statistics.md#intervals

    Examples
    --------
    >>> x, each = np.array([1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 1.0, -1.0]), np.arange(8)
    >>> plain, found = cluster_interval(x, (each,)), skewed_interval(x, (each, each))
    >>> round(plain.low, 2), round(plain.high, 2), round(found.low, 2), round(found.high, 2)
    (0.17, 1.41, -0.67, 1.41)
    """
    plain = cluster_interval(values, clusters, confidence=confidence)
    if plain is None or not plain.high > plain.low:
        return plain
    keep = ~np.isnan(values)
    x = values[keep]
    ways = tuple(distinct([codes(code[keep]) for code in clusters]))
    coarse, fine = ways[0], ways[-1]
    error, _ = mean_error(x, ways)
    mean = float(x.mean())
    t = (plain.high - mean) / error
    skewness = (
        skewness_of(x, coarse) / float(np.sqrt(effective_number(coarse))),
        skewness_within(x, coarse, within_clusters(coarse, fine)),
    )
    below, above = (farther(t, min(0.0, *(side * a for a in skewness))) for side in (1, -1))
    return replace(
        plain,
        low=mean - below * error,
        high=mean + above * error,
        method=f"{plain.method}, Hall's for skewness",
    )


def farther(t: float, a: float) -> float:
    """Return the t that Hall's transformation for a skewness takes to ``t``, and no less than ``t``.

    Parameters
    ----------
    t : float
        Quantile of t, above 0.
    a : float
        Skewness of the estimate, at most 0.

    Returns
    -------
    float
        At most about 2.5 t.

    Examples
    --------
    >>> farther(2.0, 0.0), round(farther(2.0, -0.3), 2)
    (2.0, 2.73)
    """
    if a > -1e-9 or not np.isfinite(t):
        return t
    room = 2 / 3 * (1 - _LEAST)
    a = max(a, -3 * room / (t + float(np.sqrt(t**2 + room))))
    return max(t, 3 / a * (float(np.cbrt(1 + a * (t - a / 6))) - 1))
