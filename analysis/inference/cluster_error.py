"""The standard error of a mean or slope over clustered facts, and its degrees of freedom.

Every interval, t-test and equivalence test over facts takes its error from here, so that clusters of unequal
size are counted in one way everywhere. docs/statistics.md#intervals has the measurements behind it.
"""

from __future__ import annotations

import numpy as np

from qloc.analysis.inference.label_codes import codes, distinct
from qloc.arrays import Floats, Ints
from qloc.text.rounding import fixed

_ROUNDING = 1e-12
"""Share of the largest value up to which values differ by rounding alone."""

_WHOLE = 1 - 1e-9
"""Share of the leverage from which on one cluster decides the estimate alone."""


def effective_number(code: Ints) -> float:
    """Return the effective number of clusters, G* = 1/Σ s_g², s_g the clusters' shares of the members.

    Parameters
    ----------
    code : int64 ndarray, shape (n,)
        Each member's cluster, from 0.

    Returns
    -------
    float
        The number of clusters where they are equally large; less where they are not.

    References
    ----------
    Carter, Schnepel & Steigerwald 2017, "Asymptotic behavior of a t-test robust to cluster heterogeneity",
    REStat 99.

    Examples
    --------
    >>> effective_number(np.array([0, 0, 1, 1])), round(effective_number(np.array([0, 0, 0, 1])), 2)
    (2.0, 1.6)
    """
    return float(1 / np.sum((np.bincount(code) / len(code)) ** 2))


def t_words(freedom: float) -> str:
    """Return the t-distribution that an interval or p is from, for a result's ``method``.

    Parameters
    ----------
    freedom : float
        Degrees of freedom.

    Returns
    -------
    str
        With one decimal, unless it is 0.

    Examples
    --------
    >>> t_words(7.0), t_words(2.614)
    ('t(7)', 't(2.6)')
    """
    return f"t({fixed(freedom, 1).removesuffix('.0')})"


def mean_error(values: Floats, clusters: tuple[Ints, ...]) -> tuple[float, float]:
    """Return the cluster-robust standard error of a mean, and its degrees of freedom.

    Parameters
    ----------
    values : float64 ndarray, shape (n,)
        Values without NaN.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, the coarser first.

    Returns
    -------
    error : float
        In the unit of ``values``; NaN where no way has two clusters. Values that are equal but for rounding
        have an error of 0.
    freedom : float
        Degrees of freedom of t; G − 1 for G equal clusters in one way.

    Notes
    -----
    As :func:`slope_error`, with a carrier of ones.

    Examples
    --------
    >>> error, freedom = mean_error(np.array([1.0, 2.0, 3.0]), (np.arange(3),))  # s/√n, n − 1
    >>> round(error, 4), round(freedom, 4)
    (0.5774, 2.0)
    """
    return slope_error(centred(values), np.ones(len(values)), clusters)


def centred(values: Floats) -> Floats:
    """Return values less their mean; 0 where they differ from it by rounding alone.

    Parameters
    ----------
    values : float64 ndarray, shape (n,)
        Values without NaN.

    Returns
    -------
    float64 ndarray, shape (n,)
        Residuals of a mean.

    Examples
    --------
    >>> centred(np.full(21, 0.05)).any()  # the mean of 21 times 0.05 is not 0.05
    np.False_
    """
    residual = values - (values.mean() if len(values) else 0.0)
    residual[np.abs(residual) <= _ROUNDING * np.abs(values).max(initial=0.0)] = 0.0
    return np.asarray(residual)


def slope_error(residual: Floats, carrier: Floats, clusters: tuple[Ints, ...]) -> tuple[float, float]:
    """Return the cluster-robust standard error of a least-squares coefficient, and its degrees of freedom.

    The coefficient is Σ z y/Σ z², z its *carrier*: the column less its projection on all others (ones, for a
    mean). With residuals u, sums E_g = Σ_{i in g} z_i u_i and shares s_g = Σ_{i in g} z_i²/Σ z² of the
    leverage, in one way of clustering c::

        V(c) = Σ_g E_g²/(1 − s_g) / (Σ z²)² / bias(c)

    Bias and Satterthwaite's degrees of freedom d(c) are those of this quadratic form where E_g has the
    variance s_g + ψ s_g², that is, where coefficients differ over clusters with a variance of ψ σ²/Σ z²,
    which moments give (CR2 with Bell and McCaffrey's freedom is ψ = 0). Where d is small, t(d) is too wide: t
    takes d + 1, up to G* − 1, G* = 1/Σ s_g². In two ways, V = V(c_1) + D with D = max(0, V(c_2) − V(c_1 ∩
    c_2)), and the freedom is V²/(V(c_1)²/d(c_1) + D V(c_2)/d(c_2)), but no less than 1, that of
    a single square: where D is a small difference of large numbers, it would be next to 0, and t without end.

    Parameters
    ----------
    residual : float64 ndarray, shape (n,)
        Residuals of the fit.
    carrier : float64 ndarray, shape (n,)
        The carrier z.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, the coarser first; ways with one cluster are left out.

    Returns
    -------
    error : float
        In units of the coefficient; NaN where no way has two clusters, or where one cluster has all of the
        leverage.
    freedom : float
        Degrees of freedom of t; NaN where the error is.

    References
    ----------
    Bell & McCaffrey 2002, "Bias reduction in standard errors for linear regression with multi-stage
    samples", Survey Methodology 28. Imbens & Kolesár 2016, "Robust standard errors in small samples", REStat
    98, for the variance of the clusters' sums. DerSimonian & Laird 1986, Controlled Clinical Trials 7, for ψ.
    Tipton 2015, Psychological Methods 20, for small degrees of freedom. Cameron, Gelbach & Miller 2011, JBES
    29, eq. 2.11.
    """
    ways = distinct([codes(code) for code in clusters]) if len(residual) else []
    if not ways:
        return float("nan"), float("nan")
    variance, freedom = _one_way(residual, carrier, ways[0])
    if len(ways) > 1:
        second, of_second = _one_way(residual, carrier, ways[1])
        more = second - _one_way(residual, carrier, codes(*ways))[0]
        if more > 0:
            spread = variance**2 / freedom + more * second / of_second
            variance += more
            freedom = max(variance**2 / spread, 1.0)
    return float(np.sqrt(variance)), float(freedom)


def _one_way(residual: Floats, carrier: Floats, code: Ints) -> tuple[float, float]:
    """Return V(c) and its degrees of freedom; NaN where one cluster has all of the leverage."""
    total = float(carrier @ carrier)
    share: Floats = np.bincount(code, weights=carrier**2) / total if total > 0 else np.ones(1)
    if share.max() > _WHOLE:
        return float("nan"), float("nan")
    parts = carrier * residual
    sums: Floats = np.bincount(code, weights=parts).astype(np.float64)
    sums[np.abs(sums) <= _ROUNDING * np.bincount(code, weights=np.abs(parts))] = 0.0
    bearing = share > 0
    share, sums = share[bearing], sums[bearing]
    variance = share + _difference(residual, sums, share, total) * share**2
    bias, freedom = _moments(share, variance)
    limit = 1 / float(share @ share) - 1
    value = float(np.sum(sums**2 / (1 - share))) / total**2 / bias
    return value, min(freedom + 1, max(freedom, limit))


def _difference(residual: Floats, sums: Floats, share: Floats, total: float) -> float:
    """Return ψ by moments, from Q = Σ E_g²/(s_g Σ z²) and the mean square within clusters, σ²."""
    between = float(np.sum(sums**2 / share)) / total
    left = len(residual) - len(share)
    inside = max(float(residual @ residual) - between, 0.0)
    if left <= 0 or not between > 0:
        return 0.0
    unit = inside / left
    excess = max(between - (len(share) - 1) * unit, 0.0)
    room = 1 - float(share @ share)
    return excess / (unit * room) if unit > 1e-12 * between else 1e12


def _moments(share: Floats, variance: Floats) -> tuple[float, float]:
    """Return E[Q]/Var(Σ S) and 2 E[Q]²/Var(Q) of Q = Σ_g w_g (S_g − s_g Σ S)², w_g = 1/(1 − s_g).

    S_g are independent and normal, with the variances given. Cov(e_g, e_h) = v_g [g = h] − s_g v_h − v_g
    s_h + s_g s_h Σ v, whose squares are summed in closed form.
    """
    weight, whole = 1 / (1 - share), float(variance.sum())
    own = variance - 2 * share * variance + share**2 * whole
    mean = float(weight @ own)
    ss, sv, vv = (float(weight @ product) for product in (share**2, share * variance, variance**2))
    crossing = 2 * ss * vv + (ss * whole) ** 2 + 2 * sv**2 - 4 * ss * sv * whole
    diagonal = float(np.sum((weight * variance) ** 2 - 2 * weight**2 * variance * (variance - own)))
    return mean / whole, mean**2 / (diagonal + crossing)
