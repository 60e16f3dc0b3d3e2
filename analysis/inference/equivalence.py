"""Equivalence: that a difference is within a margin fixed beforehand, which failing to reject never shows."""

from __future__ import annotations

import numpy as np
from scipy import stats

from qloc.analysis.inference.cluster_intervals import cluster_variance
from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.resampling import distinct
from qloc.arrays import Floats, Ints


def tost_p(estimate: float, error: float, freedom: float, margin: float) -> float:
    """P of two one-sided t-tests: the larger of those against −margin and +margin.

    Parameters
    ----------
    estimate, error : of the difference, and its standard error.
    margin : > 0, in the unit of ``estimate``, chosen before looking.

    Returns
    -------
    float : small where the difference is shown to lie within ±margin; NaN where the error is not defined.

    References
    ----------
    Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach", J.
    Pharmacokinetics and Biopharmaceutics 15.

    Examples
    --------
    >>> round(tost_p(0.0, 0.01, 9, 0.05), 4), round(tost_p(0.04, 0.01, 9, 0.05), 2)
    (0.0004, 0.17)
    """
    if not error > 0:
        return float("nan")
    above = stats.t.sf((estimate + margin) / error, freedom)
    below = stats.t.cdf((estimate - margin) / error, freedom)
    return float(max(above, below))


def mean_tost_p(effects: Floats, clusters: tuple[Ints, ...], margin: float) -> float:
    """The same for a mean of paired effects, cluster-robust: NaN where no way has two clusters.

    Parameters
    ----------
    effects : float64, (n,); NaN left out.
    clusters : int64, (n,) each, as for :func:`qloc.analysis.inference.cluster_intervals.cluster_interval`.
    """
    keep = ~np.isnan(effects)
    ways = tuple(distinct([codes(code[keep]) for code in clusters])) if keep.any() else ()
    if not ways:
        return float("nan")
    x = effects[keep]
    freedom = min(n_codes(way) for way in ways) - 1
    return tost_p(float(x.mean()), float(np.sqrt(cluster_variance(x, ways))), freedom, margin)
