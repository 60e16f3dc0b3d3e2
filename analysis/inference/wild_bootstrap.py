"""The wild cluster bootstrap: p and interval of one regression coefficient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.arrays import Floats, Ints

_WEBB: Final = np.concatenate([-np.sqrt([1.5, 1.0, 0.5]), np.sqrt([0.5, 1.0, 1.5])])
"""Six weights of mean 0 and variance 1, for fewer clusters than Rademacher's two can tell apart."""

_RADEMACHER_FROM: Final = 12
_FARTHEST: Final = 256.0
"""Standard errors from the estimate beyond which no end of an interval is looked for."""
_HALVINGS: Final = 20
_PIECE: Final = 2**22
"""Random weights that are in memory at a time."""
_NOTHING: Final = 1e-12
"""Share of its parts' size up to which a sum of squares is 0 but for rounding."""


@dataclass(frozen=True)
class WildTest:
    """The wild cluster bootstrap-t of one coefficient, with the null imposed, for any value of it.

    With residuals u_g of the fit in which the coefficient is held at b, y* = ŷ + v_g u_g for random weights
    v_g, one a cluster (Rademacher's ±1; Webb's six values under 12 clusters), and t* = (β* − b)/s*, s*
    cluster-robust::

        p(b) = (1 + #{|t*| ≥ |t|}) / (1 + n)

    Everything follows from each cluster's X'X and X'u, and both residuals are linear in b: numerators of β* −
    b are linear in it, and squares of s* are quadratic. So a p for one more b costs one pass over the
    resamples, whatever the numbers of observations and clusters. :func:`wild_test` makes it.

    Attributes
    ----------
    estimate : float
        The least-squares coefficient.
    error : float
        Its cluster-robust standard error, without a small-sample factor.
    moved : float64 ndarray, shape (2, 1 + resample)
        Σ_g v_g c'X_g'u_g for the residuals of the whole fit and for those of the tested column on the others,
        with c the coefficient's row of (X'X)⁻¹. Restricted residuals at value b are the former less b −
        estimate times the latter. In the first place all weights are 1: the data.
    spread : float64 ndarray, shape (3, 1 + resample)
        Squares of s* of both residuals, and between them their product: (yy, yx, xx).

    References
    ----------
    Cameron, Gelbach & Miller 2008, "Bootstrap-based improvements for inference with clustered errors", REStat
    90. Webb 2023, "Reworking wild bootstrap-based inference for clustered errors", CJE 56.
    """

    estimate: float
    error: float
    moved: Floats
    spread: Floats

    def p(self, value: float = 0.0) -> float:
        """Return the two-sided p of the coefficient being ``value``.

        Parameters
        ----------
        value : float, default 0
            Value of the coefficient under the null hypothesis.

        Returns
        -------
        float
            A multiple of 1/(n + 1) for n resamples; NaN where the residuals have no spread.
        """
        off = value - self.estimate
        moved = self.moved[0] - off * self.moved[1]
        parts = np.stack([self.spread[0], -2 * off * self.spread[1], off**2 * self.spread[2]])
        square = parts.sum(axis=0)
        square = np.where(square > _NOTHING * np.abs(parts).sum(axis=0), square, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(moved) / np.sqrt(square)
        if not np.isfinite(t[0]):
            return float("nan")
        return float((1 + np.sum(t[1:] >= t[0] * (1 - 1e-9))) / len(t))

    def in_units(self, scale: float) -> WildTest:
        """Return the test of the column times ``scale``, whose coefficient is the estimate over ``scale``.

        Parameters
        ----------
        scale : float
            Above 0.

        Returns
        -------
        WildTest
            Of the same resamples: p of ``value`` is that of ``value * scale`` here.
        """
        powers = scale ** np.arange(3.0)
        return WildTest(
            estimate=self.estimate / scale,
            error=self.error / scale,
            moved=self.moved * powers[:2, None],
            spread=self.spread * powers[:, None],
        )

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval of the values whose p is above 1 − ``confidence``.

        Parameters
        ----------
        confidence : float
            Confidence level, within (0, 1).

        Returns
        -------
        low, high : float
            Ends, found by bisection; NaN where p is not below 1 − ``confidence`` even 256 standard errors
            from the estimate.
        """
        alpha = 1 - confidence + 1e-12  # 1 − 0.95 is a little off 0.05, and p is a multiple of 1/(n + 1)
        return self._end(-1.0, alpha), self._end(1.0, alpha)

    def _end(self, side: float, alpha: float) -> float:
        inside, reach = 0.0, 2.0
        while not self.p(self.estimate + side * reach * self.error) <= alpha:
            inside, reach = reach, 2 * reach
            if reach > _FARTHEST:
                return float("nan")
        for _ in range(_HALVINGS):
            middle = (inside + reach) / 2
            if self.p(self.estimate + side * middle * self.error) <= alpha:
                reach = middle
            else:
                inside = middle
        return self.estimate + side * (inside + reach) / 2 * self.error


def wild_test(
    y: Floats, x: Floats, cluster: Ints, place: int, *, n_resamples: int, rng: np.random.Generator
) -> WildTest | None:
    """Prepare the wild cluster bootstrap test of one coefficient of a least-squares fit.

    Parameters
    ----------
    y : float64 ndarray, shape (n,)
        The outcome.
    x : float64 ndarray, shape (n, column)
        The design matrix, of full rank, with the intercept among its columns where there is one.
    cluster : int64 ndarray, shape (n,)
        The cluster of each observation.
    place : int
        Column of ``x`` whose coefficient is tested.
    n_resamples : int
        Number of random weightings of the clusters.
    rng : numpy.random.Generator
        Source of the weights.

    Returns
    -------
    WildTest or None
        None with fewer than three clusters.
    """
    code = codes(cluster)
    n = n_codes(code)
    if n < 3:
        return None
    inverse = np.linalg.inv(x.T @ x)
    rest = np.delete(x, place, axis=1)
    both = np.column_stack([y, x[:, place]])
    residual = both - rest @ np.linalg.lstsq(rest, both, rcond=None)[0] if rest.shape[1] else both
    own = inverse[place]
    estimate = float(residual[:, 0] @ residual[:, 1] / (residual[:, 1] @ residual[:, 1]))
    residual[:, 0] -= estimate * residual[:, 1]
    score = np.stack([_by_cluster(x * column[:, None], code, n) for column in residual.T])
    leverage = _by_cluster(x * (x @ own)[:, None], code, n)
    left = residual[:, 0] * residual[:, 1]
    spread = float(np.sqrt(np.sum(np.bincount(code, weights=left) ** 2)))
    parts = [
        _resampled(weights, score @ own, score @ inverse, leverage)
        for weights in _weights(n, n_resamples, rng)
    ]
    return WildTest(
        estimate=estimate,
        error=spread / float(residual[:, 1] @ residual[:, 1]),
        moved=np.concatenate([part[0] for part in parts], axis=1),
        spread=np.concatenate([part[1] for part in parts], axis=1),
    )


def _resampled(weights: Floats, pull: Floats, change: Floats, leverage: Floats) -> tuple[Floats, Floats]:
    """Return :attr:`WildTest.moved` and :attr:`WildTest.spread` of some rows of weights.

    From c'X_g'u_g, (2, cluster), (X'X)⁻¹X_g'u_g, (2, cluster, column), and c'X_g'X_g, (cluster, column).
    """
    y, x = (weights * own - (weights @ moved) @ leverage.T for own, moved in zip(pull, change, strict=True))
    spread = np.stack([np.einsum("ij,ij->i", a, b) for a, b in ((y, y), (y, x), (x, x))])
    return np.asarray(pull @ weights.T), spread


def _weights(n: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield a row of ones, for the data, and rows of random weights, piece by piece."""
    yield np.ones((1, n))
    step = max(1, _PIECE // n)
    for first in range(0, n_resamples, step):
        size = min(step, n_resamples - first), n
        if n < _RADEMACHER_FROM:
            yield np.asarray(rng.choice(_WEBB, size=size), dtype=np.float64)
        else:
            yield np.where(rng.random(size) < 0.5, -1.0, 1.0)


def _by_cluster(rows: Floats, code: Ints, n: int) -> Floats:
    """Return sums of rows by cluster, shape (cluster, column)."""
    return np.stack([np.bincount(code, weights=column, minlength=n) for column in rows.T], axis=1)
