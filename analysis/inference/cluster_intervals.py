"""Intervals for means over facts that are clustered in two ways: by relation, and by answer across relations.

Measured on planted data (docs/statistics.md): these cover 92–95%, where two-way percentile bootstraps cover
99–100% at nearly twice the width, because they count the variance within clusters twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from qloc.analysis.inference.cluster_error import mean_error, t_words
from qloc.analysis.inference.label_codes import codes, distinct, n_codes
from qloc.analysis.results import Interval
from qloc.arrays import Floats, Ints


def cluster_interval(
    values: Floats, clusters: tuple[Ints, ...], *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of a mean: mean ± t(ν) · error.

    Error and ν are those of :func:`qloc.analysis.inference.cluster_error.mean_error`; ν = G − 1 for G equal
    clusters in one way.

    Parameters
    ----------
    values : float64 ndarray, shape (n,)
        NaN is left out.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, the coarser way first; ways with one cluster are left out.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        None where no way has two clusters, or clusters do not differ at all: how much others would is not
        known then.

    Examples
    --------
    >>> interval = cluster_interval(np.array([1.0, 2.0, 3.0]), (np.arange(3),))
    >>> round(interval.low, 2), round(interval.high, 2), interval.method
    (-0.48, 4.48, 'one-way cluster-robust over 3 clusters, t(2)')
    """
    keep = ~np.isnan(values)
    x = values[keep]
    ways = tuple(distinct([codes(code[keep]) for code in clusters])) if len(x) else ()
    if not ways:
        return None
    error, freedom = mean_error(x, ways)
    if not error > 0:
        return None
    half = float(special.stdtrit(freedom, (1 + confidence) / 2)) * error
    kind = "two-way" if len(ways) > 1 else "one-way"
    sizes = " and ".join(str(n_codes(code)) for code in ways)
    return Interval(
        low=float(x.mean()) - half,
        high=float(x.mean()) + half,
        confidence=confidence,
        method=f"{kind} cluster-robust over {sizes} clusters, {t_words(freedom)}",
        freedom=freedom,
    )


def hull(first: Interval | None, second: Interval | None) -> Interval | None:
    """Return an interval with the farther ends of two of one estimate, by different ways to its error.

    Parameters
    ----------
    first, second : Interval or None
        Of one level; method and degrees of freedom are kept of the first.

    Returns
    -------
    Interval or None
        None where either is.

    Examples
    --------
    >>> one = Interval(low=0.0, high=2.0, confidence=0.95, method="t")
    >>> both = hull(one, Interval(low=-1.0, high=1.0, confidence=0.95, method="t"))
    >>> both.low, both.high
    (-1.0, 2.0)
    """
    if first is None or second is None:
        return None
    return replace(first, low=min(first.low, second.low), high=max(first.high, second.high))
