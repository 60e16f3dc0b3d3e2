"""Standardized effect sizes, each with its interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.results import EffectSize, Interval
from qloc.arrays import Floats, Ints


def rank_biserial(
    effects: Floats,
    clusters: tuple[Ints, ...],
    *,
    confidence: float = 0.95,
) -> EffectSize:
    """Return the matched-pairs rank-biserial correlation, (R₊ − R₋)/(R₊ + R₋).

    R₊ and R₋ are the sums of the ranks of |x| over positive and negative differences. The interval is
    cluster-robust, with the ranks held fixed, and clipped to [−1, 1].

    Parameters
    ----------
    effects : float64 ndarray, shape (n,)
        Paired differences; NaN and zeros are left out.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, as for
        :func:`qloc.analysis.inference.cluster_intervals.cluster_interval`.
    confidence : float, default 0.95
        Confidence level of the interval, within (0, 1).

    Returns
    -------
    EffectSize
        Value within [−1, 1], NaN where no difference is left; no interval with fewer than two clusters.

    References
    ----------
    Kerby 2014, "The simple difference formula", Comprehensive Psychology 3.

    Examples
    --------
    >>> x, unit = np.array([1.0, 2.0, -3.0]), np.arange(3)
    >>> rank_biserial(x, (unit,)).value
    0.0
    """
    keep = ~np.isnan(effects) & (effects != 0)
    x = effects[keep]
    if not len(x):
        return EffectSize(name="matched rank-biserial", value=float("nan"))
    rank = stats.rankdata(np.abs(x))
    # Σ sign · rank / Σ rank is a mean of signs weighted by ranks: a ratio that varies like a mean.
    value = float(np.sum(np.sign(x) * rank) / rank.sum())
    scaled = np.sign(x) * rank / rank.mean()
    interval = cluster_interval(scaled, tuple(c[keep] for c in clusters), confidence=confidence)
    return EffectSize(name="matched rank-biserial", value=value, interval=_clipped(interval))


def _clipped(interval: Interval | None) -> Interval | None:
    """Clip an interval to [−1, 1], the range of a correlation."""
    if interval is None:
        return None
    low, high = (float(np.clip(end, -1, 1)) for end in (interval.low, interval.high))
    return Interval(low=low, high=high, confidence=interval.confidence, method=interval.method)


def hedges_g(first: Floats, second: Floats) -> float:
    """Return Hedges' g, (x̄ − ȳ)/s_pooled · (1 − 3/(4ν − 1)), ν = n_x + n_y − 2.

    Parameters
    ----------
    first, second : float64 ndarray, shape (n_x,) and (n_y,)
        Values of two independent groups, without NaN.

    Returns
    -------
    float
        In pooled standard deviations; NaN with fewer than two values in a group, or without spread.

    References
    ----------
    Hedges 1981, "Distribution theory for Glass's estimator of effect size", eq. 6.

    Examples
    --------
    >>> round(hedges_g(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])), 3)
    -0.8
    """
    n, m = len(first), len(second)
    if n < 2 or m < 2:
        return float("nan")
    freedom = n + m - 2
    pooled = ((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / freedom
    if pooled == 0:
        return float("nan")
    return float((first.mean() - second.mean()) / np.sqrt(pooled) * (1 - 3 / (4 * freedom - 1)))


def hedges_g_interval(first: Floats, second: Floats, confidence: float = 0.95) -> Interval | None:
    """Return the large-sample interval of Hedges' g: g ± z √((n + m)/(nm) + g²/(2(n + m))).

    Facts are treated as independent.

    Parameters
    ----------
    first, second : float64 ndarray, shape (n,) and (m,)
        As for :func:`hedges_g`.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        None where g is not defined.

    References
    ----------
    Hedges & Olkin 1985, *Statistical methods for meta-analysis*, ch. 5, eq. 14.

    Examples
    --------
    >>> interval = hedges_g_interval(np.array([1.0, 2, 3]), np.array([2.0, 3, 4]))
    >>> round(interval.low, 2), round(interval.high, 2)
    (-2.46, 0.86)
    """
    g, n, m = hedges_g(first, second), len(first), len(second)
    if np.isnan(g):
        return None
    half = stats.norm.ppf((1 + confidence) / 2) * np.sqrt((n + m) / (n * m) + g**2 / (2 * (n + m)))
    return Interval(
        low=float(g - half), high=float(g + half), confidence=confidence, method="normal, large samples"
    )


def odds_ratio(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    clusters: tuple[Ints, ...],
    *,
    confidence: float = 0.95,
) -> EffectSize:
    """Return the odds ratio of two labels of the same facts, with a cluster-robust interval.

    Half a fact is added to each cell of the two-by-two table, so that the ratio is always defined.

    Parameters
    ----------
    first, second : bool ndarray, shape (n,)
        Two labels of each fact.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, as for
        :func:`qloc.analysis.inference.cluster_intervals.cluster_interval`.
    confidence : float, default 0.95
        Confidence level of the interval, within (0, 1).

    Returns
    -------
    EffectSize
        Odds ratio, 1 where the labels are independent; no interval with fewer than two clusters.

    References
    ----------
    Haldane 1956, Annals of Human Genetics 20, for the halves; Woolf 1955 for the variance that the interval
    is the cluster-robust form of.

    Examples
    --------
    >>> a = np.array([True, True, False, False, True])
    >>> round(odds_ratio(a, a, (np.arange(5),)).value, 1)
    35.0
    """
    n = len(first)
    cell = 2 * first.astype(np.int64) + second
    count = np.bincount(cell, minlength=4)
    sign = np.array([1.0, -1.0, -1.0, 1.0])
    value = float(sign @ np.log(count + 0.5))
    # Linearized in the cells, a fact adds n · sign/count of its cell to the log odds ratio.
    parts = value + n * (sign / (count + 0.5))[cell]
    interval = cluster_interval(parts - parts.mean() + value, clusters, confidence=confidence) if n else None
    ends = interval and replace(interval, low=float(np.exp(interval.low)), high=float(np.exp(interval.high)))
    return EffectSize(name="odds ratio", value=float(np.exp(value)), interval=ends)
