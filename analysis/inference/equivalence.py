"""Equivalence tests: whether a difference lies within a margin that was fixed beforehand.

A test that fails to reject never shows that there is no difference; two one-sided tests can.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from qloc.analysis.inference.cluster_error import centred, mean_error
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.least_p import flip_clusters
from qloc.analysis.inference.relation_effects import skewness_adjusted_p, within_clusters
from qloc.arrays import Floats, Ints


def tost_p(estimate: float, error: float, freedom: float, margin: float) -> float:
    """Return p of two one-sided t-tests: the larger of those against −margin and +margin.

    Parameters
    ----------
    estimate : float
        The estimated difference.
    error : float
        Standard error of the estimate.
    freedom : float
        Degrees of freedom of t, above 0.
    margin : float
        Largest difference that counts as none, above 0, in the unit of ``estimate``; chosen before looking.

    Returns
    -------
    float
        Small where the difference is shown to lie within ±margin; NaN where the error is 0 or NaN.

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


def mean_tost_p(effects: Floats, clusters: tuple[Ints, ...], margin: float, level: float = 0.05) -> float:
    """Return p of two one-sided t-tests of a mean, with a cluster-robust error.

    Effects of clusters that are skewed make a t-test wrong on one side: of rare large effects, most samples
    have none, and a mean and spread that are too small. So neither one-sided p is less than that of a t that
    is adjusted for the skewness seen, over the first way of clustering
    (:func:`qloc.analysis.inference.relation_effects.skewness_adjusted_p`).

    Parameters
    ----------
    effects : float64 ndarray, shape (n,)
        Paired differences; NaN is left out.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, as for
        :func:`qloc.analysis.inference.cluster_intervals.cluster_interval`.
    margin : float
        Largest mean that counts as none, above 0.
    level : float, default 0.05
        Level that flips of signs must be able to reach (:func:`qloc.analysis.inference.least_p.too_few`).

    Returns
    -------
    float
        As :func:`tost_p`; NaN where no way has two clusters, or where clusters do not differ but what is in
        them does. Where nothing differs, t has no scale: 2⁻ᴳ for a value within the margin, and 1 beyond it,
        since were half of all clusters beyond it, so likely would none of G be. Clusters are those whose
        signs are flipped.

    Examples
    --------
    >>> mean_tost_p(np.zeros(8), (np.arange(8),), 0.1)
    0.00390625
    >>> x = np.array([0.01, -0.01, 0.02, 0.0])
    >>> plain = tost_p(0.005, float(x.std(ddof=1)) / 2, 3, 0.1)
    >>> round(plain, 4), round(mean_tost_p(x - (x == 0.02) * 0.1, (np.arange(4),), 0.1), 2)  # one far below
    (0.0003, 0.2)
    """
    keep = ~np.isnan(effects)
    if not keep.any():
        return float("nan")
    x = effects[keep]
    ways = tuple(codes(code[keep]) for code in clusters)
    error, freedom = mean_error(x, ways)
    if error == 0:
        return float("nan") if centred(x).any() else _alike_p(float(x.mean()), ways, margin, level)
    p = tost_p(float(x.mean()), error, freedom, margin)
    inside = within_clusters(*ways[:2])
    sides = (side * x + margin for side in (1.0, -1.0))
    skewed = (skewness_adjusted_p(effects, ways[0], inside, hidden=False) for effects in sides)
    return float(np.fmax.reduce([p, *skewed])) if not np.isnan(p) else p


def _alike_p(value: float, ways: tuple[Ints, ...], margin: float, level: float) -> float:
    """Return p of a value beyond ±margin that all have."""
    return 2.0 ** -n_codes(flip_clusters(ways[0], ways[-1], level)[0]) if abs(value) < margin else 1.0
