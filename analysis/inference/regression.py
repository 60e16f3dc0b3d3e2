"""Linear regression over facts whose errors are clustered, and the design matrices that it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.wild_bootstrap import FEW, wild_test
from qloc.analysis.results import EffectSize, Interval
from qloc.arrays import Floats, Ints
from qloc.random_streams import Stream


@dataclass(frozen=True, kw_only=True)
class Slope:
    """One regression coefficient with cluster-robust inference.

    Attributes
    ----------
    estimate : float
        The coefficient, in units of y for one unit of x.
    error : float
        Cluster-robust standard error.
    freedom : int
        Degrees of freedom of the error, G − 1 for G clusters.
    interval : Interval
        Interval of the coefficient.
    effect : EffectSize or None
        Standardized slope, β · s_x / s_y; None for a column without spread, such as an intercept.
    p : float
        Two-sided p of the coefficient being 0; under 40 clusters the larger of the wild cluster bootstrap's
        and that of t(G − 1).
    method : str
        How interval and p were made, in words.
    """

    estimate: float
    error: float
    freedom: int
    interval: Interval
    effect: EffectSize | None
    p: float
    method: str


def clustered_slopes(y: Floats, x: Floats, cluster: Ints, places: list[int], draws: Draws) -> list[Slope]:
    """Fit ordinary least squares and return some of its coefficients with cluster-robust inference.

    β = (X'X)⁻¹X'y; V = c (X'X)⁻¹ (Σ_g X_g'u_g u_g'X_g) (X'X)⁻¹ with c = G/(G − 1) · (n − 1)/(n − K).
    With 40 clusters or more, intervals and p are those of t(G − 1). With fewer, they are those of the wild
    cluster bootstrap; p is then no less than that of t(G − 1), and an interval without an end is replaced by
    that of t(G − 1).

    Parameters
    ----------
    y : float64 ndarray, shape (n,)
        The outcome.
    x : float64 ndarray, shape (n, column)
        The design matrix, of full rank, with a column of ones where there is an intercept.
    cluster : int64 ndarray, shape (n,)
        The cluster of each observation; at least two clusters.
    places : list of int
        Columns of ``x`` whose coefficients are returned.
    draws : Draws
        ``n_bootstrap``, ``confidence`` and ``seed`` are used.

    Returns
    -------
    list of Slope
        In the order of ``places``.

    References
    ----------
    Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", JHR 50, §II and §VI.
    """
    code = codes(cluster)
    n = n_codes(code)
    fit = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": code}, use_t=True)
    ends = np.asarray(fit.conf_int(alpha=1 - draws.confidence))
    name = f"least squares, cluster-robust over {n} clusters, t({n - 1})"
    slopes = []
    for place in places:
        method, p = name, float(fit.pvalues[place])
        low, high = (float(end) for end in ends[place])
        if n < FEW:
            rng = Stream.SLOPES.generator(draws.seed, place)
            test = wild_test(y, x, code, place, n_resamples=draws.n_bootstrap, rng=rng)
            # The bootstrap alone rejected 6.5% with 8 clusters (docs/statistics.md).
            p = max(p, test.p()) if test else float("nan")
            wild = test.interval(draws.confidence) if test else (np.nan, np.nan)
            by = f"wild cluster bootstrap over {n} clusters, {draws.n_bootstrap} resamples"
            method = f"least squares; {by}" if np.isfinite(wild).all() else f"{name}; p by {by}"
            low, high = wild if np.isfinite(wild).all() else (low, high)
        slopes.append(
            Slope(
                estimate=float(fit.params[place]),
                error=float(fit.bse[place]),
                freedom=n - 1,
                interval=Interval(low=low, high=high, confidence=draws.confidence, method=method),
                effect=_standardized(y, x[:, place], float(fit.params[place]), (low, high), draws, method),
                p=p,
                method=f"{method}; p no less than of t({n - 1})" if n < FEW else method,
            )
        )
    return slopes


def _standardized(
    y: Floats, x: Floats, slope: float, ends: tuple[float, float], draws: Draws, method: str
) -> EffectSize | None:
    spread = x.std(ddof=1)
    if not spread > 0 or not y.std(ddof=1) > 0:
        return None
    scale = float(spread / y.std(ddof=1))
    interval = Interval(low=scale * ends[0], high=scale * ends[1], confidence=draws.confidence, method=method)
    return EffectSize(name="standardized slope", value=scale * slope, interval=interval)


def within(values: Floats, group: Ints) -> Floats:
    """Return columns less their mean in each group: the residuals of a regression on group dummies.

    Parameters
    ----------
    values : float64 ndarray, shape (n, column)
        The columns.
    group : int64 ndarray, shape (n,)
        Each row's group, from 0, none of them empty.

    Returns
    -------
    float64 ndarray, shape (n, column)
        Columns whose mean is 0 in each group.

    References
    ----------
    Frisch & Waugh 1933, "Partial time regressions as compared with individual trends", Econometrica 1.

    Examples
    --------
    >>> within(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]))[:, 0].tolist()
    [-1.0, 1.0, 0.0]
    """
    n = np.bincount(group)
    means = np.stack([np.bincount(group, weights=column) for column in values.T], axis=1) / n[:, None]
    return np.asarray(values - means[group])


def independent(x: Floats) -> list[int]:
    """Return the columns that are not (nearly) a linear combination of those before them.

    Parameters
    ----------
    x : float64 ndarray, shape (n, column)
        A design matrix.

    Returns
    -------
    list of int
        Numbers of the columns kept, in order: a design matrix of full rank.

    Examples
    --------
    >>> independent(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]))
    [0, 2]
    """
    chosen: list[int] = []
    for place in range(x.shape[1]):
        trial = x[:, [*chosen, place]]
        size = np.linalg.norm(trial, axis=0)
        if size[-1] > 0 and np.linalg.matrix_rank(trial / size, tol=1e-8) == len(chosen) + 1:
            chosen.append(place)
    return chosen
