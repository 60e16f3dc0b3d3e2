"""The wild cluster bootstrap: p of one regression coefficient when clusters are few."""

from __future__ import annotations

from typing import Final

import numpy as np

from qloc.analysis.groups import Floats, Ints, codes, n_codes

FEW: Final = 40
"""Clusters below which t(G − 1) is not trusted alone."""

_WEBB: Final = np.concatenate([-np.sqrt([1.5, 1.0, 0.5]), np.sqrt([0.5, 1.0, 1.5])])
"""Six weights of mean 0 and variance 1, for fewer clusters than Rademacher's two can tell apart."""

_RADEMACHER_FROM: Final = 12


def wild_cluster_p(
    y: Floats, x: Floats, cluster: Ints, place: int, *, n_resamples: int, rng: np.random.Generator
) -> float:
    """Two-sided p of coefficient ``place`` being zero, by the wild cluster bootstrap-t with the null imposed.

    With residuals u_g of the fit without column j, y* = ŷ + v_g u_g for random weights v_g, one a cluster
    (Rademacher's ±1; Webb's six values under 12 clusters), and t* = β*_j / s*_j, s* cluster-robust::

        p = (1 + #{|t*| ≥ |t|}) / (1 + n)

    Everything follows from each cluster's X'X and X'u, so that cost does not grow with n.

    Parameters
    ----------
    y : float64, (n,)
    x : float64, (n, column), of full rank, the intercept among the columns where there is one.
    cluster : int64, (n,)

    Returns
    -------
    float : NaN with fewer than three clusters, or without spread.

    References
    ----------
    Cameron, Gelbach & Miller 2008, "Bootstrap-based improvements for inference with clustered errors", REStat
    90. Webb 2023, "Reworking wild bootstrap-based inference for clustered errors", CJE 56.
    """
    code = codes(cluster)
    n = n_codes(code)
    if n < 3:
        return float("nan")
    inverse = np.linalg.inv(x.T @ x)
    rest = np.delete(x, place, axis=1)
    residual = y - rest @ np.linalg.lstsq(rest, y, rcond=None)[0] if rest.shape[1] else y
    score = _by_cluster(x * residual[:, None], code, n)
    curvature = _by_cluster((x[:, :, None] * x[:, None, :]).reshape(len(x), -1), code, n)
    leverage = inverse[place] @ curvature.reshape(n, x.shape[1], x.shape[1])
    pull = score @ inverse[place]
    t = _studentized(np.ones((1, n)), pull, score @ inverse, leverage)
    drawn = _studentized(_weights(n, n_resamples, rng), pull, score @ inverse, leverage)
    if not np.isfinite(t[0]):
        return float("nan")
    larger = np.abs(drawn) >= np.abs(t[0]) * (1 - 1e-12)
    return float((1 + larger.sum()) / (1 + n_resamples))


def _studentized(weights: Floats, pull: Floats, moved: Floats, leverage: Floats) -> Floats:
    """β_j / s_j for each row of weights; the small-sample factor is common to all and left out.

    ``pull`` : (cluster,), c'X_g'u_g with c row j of (X'X)⁻¹; ``moved`` : (cluster, column), (X'X)⁻¹X_g'u_g;
    ``leverage`` : (cluster, column), c'X_g'X_g.
    """
    change = weights @ moved
    spread = np.sum((weights * pull - change @ leverage.T) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((weights @ pull) / np.sqrt(spread))


def _weights(n: int, n_resamples: int, rng: np.random.Generator) -> Floats:
    if n < _RADEMACHER_FROM:
        return np.asarray(rng.choice(_WEBB, size=(n_resamples, n)), dtype=np.float64)
    return np.where(rng.random((n_resamples, n)) < 0.5, -1.0, 1.0)


def _by_cluster(rows: Floats, code: Ints, n: int) -> Floats:
    """Sums of rows by cluster: float64, (cluster, column)."""
    return np.stack([np.bincount(code, weights=column, minlength=n) for column in rows.T], axis=1)
