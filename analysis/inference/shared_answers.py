"""Answers that several relations share: dependence that sign flips and resamples of whole relations miss."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inference.cluster_intervals import cluster_variance
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.resampling import distinct
from qloc.arrays import Floats, Ints


def crossed(relation: Ints, answer: Ints) -> bool:
    """Return whether some answer occurs in more than one relation.

    Parameters
    ----------
    relation, answer : int64 ndarray, shape (fact,)
        Relation and answer of each fact, as codes.

    Returns
    -------
    bool
        False where there are fewer than two relations.

    Examples
    --------
    >>> crossed(np.array([0, 0, 1]), np.array([0, 1, 1])), crossed(np.array([0, 0, 1]), np.array([0, 1, 2]))
    (True, False)
    """
    if not len(relation) or n_codes(codes(relation)) < 2:
        return False
    return n_codes(codes(relation, answer)) > n_codes(codes(answer))


def crossed_error(values: Floats, relation: Ints, answer: Ints) -> tuple[float, float]:
    """Return the two-way cluster-robust standard error of a mean, for few and unequal clusters.

    With shares s_g of the facts, G* = 1/Σ s_g² is the effective number of clusters; the smaller G* of both
    ways counts. The variance is multiplied by G*/(G* − 1), and t has G* − 1 degrees of freedom.

    Parameters
    ----------
    values : float64 ndarray, shape (fact,)
        Values without NaN.
    relation, answer : int64 ndarray, shape (fact,)
        Relation and answer of each fact; at least two of each.

    Returns
    -------
    error : float
        Standard error of the mean, in the unit of ``values``.
    freedom : float
        Degrees of freedom, G* − 1.

    References
    ----------
    Carter, Schnepel & Steigerwald 2017, "Asymptotic behavior of a t-test robust to cluster heterogeneity",
    REStat 99, for G*.

    Examples
    --------
    >>> x, a, b = np.arange(4.0), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> error, freedom = crossed_error(x, a, b)
    >>> round(error, 2), freedom
    (1.41, 1.0)
    """
    ways = tuple(distinct([codes(relation), codes(answer)]))
    n = min(1 / float(np.sum((np.bincount(way) / len(way)) ** 2)) for way in ways)
    return float(np.sqrt(cluster_variance(values, ways) * n / (n - 1))), n - 1
