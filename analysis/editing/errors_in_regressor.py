"""An effect at a regressor of 0, where the regressor is measured twice, with error.

Error in a regressor draws its slope towards 0 (attenuation), and with it leaves some of what the regressor
explains in the intercept: arms of unequal damage then seem to differ at equal damage. Two measurements whose
errors are independent tell how much of their spread is error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from qloc.analysis.inference.cluster_error import mean_error
from qloc.arrays import Floats, Ints

LEAST_RATIO: Final = 3.0
"""Standard errors that the covariance of both measurements must be above 0, for a slope to be known."""


@dataclass(frozen=True, kw_only=True)
class NetOfRegressor:
    """An outcome of every fact at a regressor of 0.

    Attributes
    ----------
    values : float64 ndarray, shape (fact,)
        Their mean is the intercept; their errors are those of the intercept, the slope's among them.
    reliability : float
        Correlation of both measurements.
    is_known : bool
        Whether both measurements agree enough for a slope.
    p_straight : float
        Two-sided p of the outcome being straight in the regressor, net of the measurements' errors.
    """

    values: Floats
    reliability: float
    is_known: bool
    p_straight: float = 1.0


def net_of_regressor(y: Floats, first: Floats, second: Floats, clusters: tuple[Ints, Ints]) -> NetOfRegressor:
    """Return the outcome at a regressor of 0, the regressor being measured twice with independent errors.

    With x̄ the mean of both measurements x₁ and x₂, m the mean of x̄, C = cov(x₁, x₂) (their variance without
    the errors') and b = cov(x̄, y)/C, the intercept is ȳ − b·m. It is the mean of ::

        y − b·x̄ − m·[(x̄ − m)(y − ȳ) − b·(x₁ − m₁)(x₂ − m₂)]/C

    whose last term, of mean 0, is the influence of each fact on b.

    Parameters
    ----------
    y : float64 ndarray, shape (fact,)
        The outcome, without NaN.
    first, second : float64 ndarray, shape (fact,)
        Both measurements of the regressor.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.

    Returns
    -------
    NetOfRegressor
        Values to be tested like paired effects.

    References
    ----------
    Fuller 1987, *Measurement Error Models*, §1.2 and §2.4: a second measurement as the instrument of the
    first.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> found = net_of_regressor(5 + 2 * x, x, x, (np.arange(4), np.arange(4)))
    >>> found.values.round(9).tolist(), round(found.reliability, 9)
    ([5.0, 5.0, 5.0, 5.0], 1.0)
    """
    x = (first + second) / 2
    m, both = float(x.mean()), (first - first.mean()) * (second - second.mean())
    together, with_y = float(both.mean()), (x - m) * (y - y.mean())
    spread = float(first.std() * second.std())
    error, _ = mean_error(both, clusters)
    if not together > 0:
        return NetOfRegressor(values=np.full(len(y), np.nan), reliability=0.0, is_known=False)
    slope = float(with_y.mean()) / together
    return NetOfRegressor(
        values=y - slope * x - m * (with_y - slope * both) / together,
        reliability=together / spread,
        is_known=together > LEAST_RATIO * error,
        p_straight=_p_straight(y, first, second, slope, clusters),
    )


def _p_straight(y: Floats, first: Floats, second: Floats, slope: float, clusters: tuple[Ints, Ints]) -> float:
    """Return p of the outcome being straight in the regressor, net of measurement errors; 1 if unknown.

    Of a straight line the mean of (x₁ − m₁)(x₂ − m₂)(y − ȳ − b (x̄ − m)) is 0, for errors that are independent
    of each other and of the regressor, however that is distributed. The influence of b, and of the means,
    goes with each fact's term.
    """
    x1, x2, of = first - first.mean(), second - second.mean(), y - y.mean()
    x, both = (x1 + x2) / 2, x1 * x2
    rest, together = of - slope * x, float(both.mean())
    of_slope = (x * of - slope * both) / together * float((both * x).mean())
    of_means = together * rest + float((x2 * rest).mean()) * x1 + float((x1 * rest).mean()) * x2
    values = both * rest - of_slope - of_means
    error, freedom = mean_error(values, clusters)
    return 2 * float(stats.t.sf(abs(float((both * rest).mean())) / error, freedom)) if error > 0 else 1.0
