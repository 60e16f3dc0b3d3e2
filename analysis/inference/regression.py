"""Linear regression over facts whose errors are clustered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm

from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.wild_bootstrap import FEW, wild_test
from qloc.analysis.results import EffectSize, Interval
from qloc.arrays import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Slope:
    """One coefficient: its estimate, interval and p, and the slope in standard deviations of y for one of x.

    Attributes
    ----------
    error : cluster-robust standard error, of ``freedom`` degrees of freedom.
    effect : standardized slope, β · s_x / s_y; None for an intercept.
    p : two-sided; under 40 clusters the larger of the wild cluster bootstrap's and the t's.
    """

    estimate: float
    error: float
    freedom: int
    interval: Interval
    effect: EffectSize | None
    p: float
    method: str


def clustered_slopes(y: Floats, x: Floats, cluster: Ints, places: list[int], draws: Draws) -> list[Slope]:
    """Ordinary least squares with cluster-robust inference, of the columns in ``places``.

    β = (X'X)⁻¹X'y; V = c (X'X)⁻¹ (Σ_g X_g'u_g u_g'X_g) (X'X)⁻¹ with c = G/(G − 1) · (n − 1)/(n − K);
    intervals and p are those of t(G − 1) from 40 clusters on, and under 40 those of the wild cluster
    bootstrap, ``draws.n_bootstrap`` resamples; where it gives no end, of t(G − 1). Under 40, p is no less
    than that of t(G − 1) either.

    Parameters
    ----------
    y : float64, (n,)
    x : float64, (n, column), of full rank.
    cluster : int64, (n,), two clusters at least.

    References
    ----------
    Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", JHR 50, §II and §VI.
    """
    code = codes(cluster)
    n = n_codes(code)
    fit = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": code}, use_t=True)
    ends = np.asarray(fit.conf_int(alpha=1 - draws.confidence))
    name = f"least squares, cluster-robust over {n} clusters, t({n - 1})"
    found = []
    for place in places:
        method, p = name, float(fit.pvalues[place])
        low, high = (float(end) for end in ends[place])
        if n < FEW:
            rng = np.random.default_rng([draws.seed, 60, place])
            test = wild_test(y, x, code, place, n_resamples=draws.n_bootstrap, rng=rng)
            # The bootstrap alone rejected 6.5% with 8 clusters (docs/statistics.md).
            p = max(p, test.p()) if test else float("nan")
            wild = test.interval(draws.confidence) if test else (np.nan, np.nan)
            by = f"wild cluster bootstrap over {n} clusters, {draws.n_bootstrap} resamples"
            method = f"least squares; {by}" if np.isfinite(wild).all() else f"{name}; p by {by}"
            low, high = wild if np.isfinite(wild).all() else (low, high)
        found.append(
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
    return found


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
    """Columns less their mean in each group: what group dummies would leave (Frisch & Waugh 1933)."""
    n = np.bincount(group)
    means = np.stack([np.bincount(group, weights=column) for column in values.T], axis=1) / n[:, None]
    return np.asarray(values - means[group])


def independent(x: Floats) -> list[int]:
    """Columns that are not (nearly) a combination of those before them, in order."""
    chosen: list[int] = []
    for place in range(x.shape[1]):
        trial = x[:, [*chosen, place]]
        size = np.linalg.norm(trial, axis=0)
        if size[-1] > 0 and np.linalg.matrix_rank(trial / size, tol=1e-8) == len(chosen) + 1:
            chosen.append(place)
    return chosen
