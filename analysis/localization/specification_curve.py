"""One p for a specification curve: whether there is an excess, all choices taken together.

Choices of method, threshold and queries share their data, so that many that agree are no more evidence than
one. Signs of the same facts are therefore flipped under all choices at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.resampling import flip_p, flips
from qloc.arrays import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class CurveTest:
    """What all choices say together.

    Attributes
    ----------
    choices : int
        Choices under which the excess is defined.
    median : float
        Median over choices of the mean excess, in its unit; NaN without choices.
    p : float
        One-sided, of a median above what is expected; NaN without choices.
    """

    choices: int
    median: float
    p: float


def curve_test(
    values: Floats, cluster: Ints, *, least: float, n_permutations: int, rng: np.random.Generator
) -> CurveTest:
    """Test whether the median over choices of a studentized mean excess is above what chance gives.

    With S_cg the sum over the facts of cluster g of x − δ under choice c, the statistic is the median over
    choices of::

        z_c = Σ_g S_cg / √(Σ_g S_cg²)

    and p the share of flips of clusters' signs, of each cluster under all choices alike, with a median as
    large. Where there is no excess above δ, whatever the choice, means of clusters are around 0 or below; as
    in all tests by flips, they are taken for symmetric there.

    Parameters
    ----------
    values : float64 ndarray, shape (choice, fact)
        Excess of every fact under each choice, such as in Dice; NaN where not defined.
    cluster : int64 ndarray, shape (fact,)
        What is flipped together, such as the answer within its relation.
    least : float
        δ, in the unit of values: an excess that is none, what its prediction may be off by.
    n_permutations : int
        Flips; all of them where fewer.
    rng : numpy.random.Generator
        Source of the flips.

    Returns
    -------
    CurveTest
        Choices without two clusters whose sums are not 0 are left out.

    References
    ----------
    Simonsohn, Simmons & Nelson 2020, "Specification curve analysis", Nature Human Behaviour 4.

    Examples
    --------
    >>> x = np.array([[1.0, 2, 3, 2, 1], [0.5, 1, 2, 1, np.nan]])
    >>> found = curve_test(x, np.arange(5), least=0.0, n_permutations=99, rng=np.random.default_rng(0))
    >>> found.choices, found.median, found.p  # one flip of 32
    (2, 1.4625, 0.03125)
    """
    defined = ~np.isnan(values)
    code = codes(cluster)
    beyond = np.where(defined, values - least, 0.0)
    sums = np.stack(
        [np.bincount(code, weights=row, minlength=int(code.max(initial=-1)) + 1) for row in beyond]
    )
    kept = np.count_nonzero(sums, axis=1) > 1
    if not kept.any():
        return CurveTest(choices=0, median=float("nan"), p=float("nan"))
    means = np.nanmean(values[kept], axis=1)
    sums = sums[kept] / np.linalg.norm(sums[kept], axis=1, keepdims=True)
    sums = sums[:, np.any(sums != 0, axis=0)]
    n = sums.shape[1]
    flipped = np.median(flips(n, n_permutations, rng) @ sums.T, axis=1)
    observed = float(np.median(sums.sum(axis=1)))
    return CurveTest(
        choices=int(kept.sum()),
        median=float(np.median(means)),
        p=flip_p(observed, flipped, n, rounding=1e-12 * n),
    )
