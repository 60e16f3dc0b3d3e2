"""Standardized effect sizes, each with its interval."""

from __future__ import annotations

import numpy as np
from scipy import stats

from qloc.analysis.clustered import cluster_interval
from qloc.analysis.groups import Floats, Ints
from qloc.analysis.results import EffectSize, Interval


def rank_biserial(
    effects: Floats,
    clusters: tuple[Ints, ...],
    *,
    confidence: float = 0.95,
) -> EffectSize:
    """Matched-pairs rank-biserial correlation, (R₊ − R₋)/(R₊ + R₋), R± the rank sums of |x| by sign.

    The interval is cluster-robust, ranks held fixed.

    Parameters
    ----------
    effects : float64, (n,), paired differences; NaN and zeros left out.
    clusters : int64, (n,) each.

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
    """The same within [−1, 1], which bounds a correlation."""
    if interval is None:
        return None
    low, high = (float(np.clip(end, -1, 1)) for end in (interval.low, interval.high))
    return Interval(low=low, high=high, confidence=interval.confidence, method=interval.method)


def hedges_g(first: Floats, second: Floats) -> float:
    """Hedges' g, (x̄ − ȳ)/s_pooled · (1 − 3/(4ν − 1)), ν = n_x + n_y − 2.

    NaN with fewer than two in a group, or without spread.

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
