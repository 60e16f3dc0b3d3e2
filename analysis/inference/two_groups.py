"""Compare means of two groups of clusters, such as relations and paradigms, by permuting their labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from scipy import stats

from qloc.analysis.inference.equivalence import tost_p
from qloc.analysis.inference.relation_effects import skewness_of, unskewed
from qloc.analysis.inference.skewed_interval import farther
from qloc.arrays import Floats, Ints

FEW: Final = 4
"""Values of a group below which they do not tell how much it varies."""


@dataclass(frozen=True, kw_only=True)
class TwoGroups:
    """The difference of two groups' means, and how often permuted labels give a larger one.

    Attributes
    ----------
    difference : float
        Mean of the first group less that of the second.
    low, high : float
        Interval of the difference: the farther ends of Welch's and of Student's, farther still for skewness.
    freedom : float
        Degrees of freedom of the wider of both: Satterthwaite's, or the members of both groups less two.
    p : float
        Two-sided, the larger of that of permuted labels and of Welch's t, transformed for skewness; NaN where
        a group has fewer than two members, or nothing varies.
    least_p : float
        Least p that groups of these sizes can give.
    p_equivalence : float
        p of two one-sided t-tests against ±margin: the largest of Welch's, Welch's transformed for skewness
        and Student's.
    n_permutations : int
        Labellings that were looked at.
    enumerated : bool
        Whether these are all.
    """

    difference: float
    low: float
    high: float
    freedom: float
    p: float
    least_p: float
    p_equivalence: float
    n_permutations: int
    enumerated: bool


def compare_groups(
    first: Floats,
    second: Floats,
    *,
    margin: float,
    confidence: float,
    n_permutations: int,
    rng: np.random.Generator,
) -> TwoGroups:
    """Compare two groups of independent values by the permutation distribution of Welch's t.

    Labels are permuted over the pooled values; all labellings are enumerated where there are at most
    ``n_permutations``. With the studentized statistic this p is exact where both groups have one
    distribution, and right in large samples where only their means are equal. In small ones a small group
    that varies more makes it too small, and a group of two that happens to be alike Welch's t: p is the
    larger of both. Intervals and equivalence are of Welch's t and of Student's, which is exact where both
    groups vary alike, whichever says less. With two or three values in a group, which do not tell how much
    that group varies, Welch's t has as many degrees of freedom as the smaller group: it is then right
    whichever group varies more (Hsu 1938). A group that is skewed against its mean makes both too small: t is
    transformed for the skewness seen (Hall 1992), and the interval's ends are as far.

    Parameters
    ----------
    first, second : float64 ndarray, shape (cluster,)
        One mean a cluster; no NaN.
    margin : float
        Largest difference that counts as none.
    confidence : float
        Level of the interval.
    n_permutations : int
        Most labellings to look at.
    rng : numpy.random.Generator
        Draws labellings where there are more.

    Returns
    -------
    TwoGroups
        NaN where either group has fewer than two values, or none varies.

    References
    ----------
    Hall 1992, "On the removal of skewness by transformation", JRSS B 54.
    Hsu 1938, "Contribution to the theory of Student's t-test as applied to the problem of two samples",
    Statistical Research Memoirs 2.
    Janssen 1997, "Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens–Fisher
    problem", Statistics and Probability Letters 36.

    Examples
    --------
    >>> one, two = np.array([0.9, 1.0, 1.1]), np.array([0.1, 0.2, 0.0])
    >>> found = compare_groups(
    ...     one, two, margin=0.1, confidence=0.95, n_permutations=999, rng=np.random.default_rng(0)
    ... )
    >>> found.difference, found.p, found.least_p  # of 20 labellings, two are as extreme
    (0.9, 0.1, 0.1)
    """
    a, b = len(first), len(second)
    difference = float(first.mean() - second.mean()) if a and b else math.nan
    if min(a, b) < 2 or not (np.ptp(first) or np.ptp(second)):
        return TwoGroups(
            difference=difference, low=math.nan, high=math.nan, freedom=math.nan, p=math.nan,
            least_p=math.nan, p_equivalence=math.nan, n_permutations=0, enumerated=True,
        )  # fmt: skip
    welch, freedom = welchs_error(first, second)
    if min(a, b) < FEW:
        freedom = min(freedom, min(a, b) - 1.0)
    errors = (welch, freedom), students_error(first, second)
    reach, freedom = max((float(stats.t.ppf((1 + confidence) / 2, of)) * error, of) for error, of in errors)
    pooled = np.concatenate([first, second])
    labels, enumerated = labellings(a + b, a, n_permutations, rng)
    n, own = len(labels), _welch(pooled, np.arange(a)[None])[0]
    extreme = int(np.sum(_welch(pooled, labels) >= own - 1e-9))
    p = extreme / n if enumerated else (extreme + 1) / (n + 1)
    t, toward = difference / welch, skewnesses(first, second)
    shift = margin / welch
    smaller, larger = (_tail(side * t, a, errors[0][1]) for side, a in zip((1, -1), toward, strict=True))
    within = [_tail(shift + side * t, a, errors[0][1]) for side, a in zip((1, -1), toward, strict=True)]
    p = max(p, min(1.0, 2 * min(smaller, larger)))
    ends = [farther(reach / welch, a) * welch for a in toward]
    return TwoGroups(
        difference=round(difference, 12),
        low=difference - ends[0],
        high=difference + ends[1],
        freedom=freedom,
        p=p,
        least_p=(1 + (a == b)) / n if enumerated else 1 / (n + 1),
        p_equivalence=max(*within, *(tost_p(difference, *error, margin) for error in errors)),
        n_permutations=n,
        enumerated=enumerated,
    )


def _tail(t: float, a: float, freedom: float) -> float:
    """Return the one-sided p of t, transformed for a skewness a."""
    return float(stats.t.sf(unskewed(t, a), freedom))


def skewnesses(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the skewness of a difference of means that hides that it is smaller, and that it is larger.

    That of each group's mean is what it shows, γ/√n where it is on that side; both add up by the groups'
    shares w of the squared error, with w to the power of 3/2. Two or three values show none.

    Parameters
    ----------
    first, second : float64 ndarray, shape (cluster,)
        Two values each at least, not all alike.

    Returns
    -------
    smaller, larger : float
        At most 0: of the difference, and of minus the difference.

    Examples
    --------
    >>> low = np.array([0.0, 0.1, -0.1, 0.05, -0.05, 0.1, 0.0, -2.0])  # one value far below
    >>> [round(a, 2) for a in skewnesses(low, np.zeros(8))]
    [-0.98, 0.0]
    """
    groups = [(first, 1.0), (second, -1.0)]
    errors = [float(values.var(ddof=1)) / len(values) for values, _ in groups]
    found = []
    for side in (1.0, -1.0):
        total = 0.0
        for (values, sign), error in zip(groups, errors, strict=True):
            n, each = len(values), np.arange(len(values))
            own = skewness_of(side * sign * values, each) if n >= FEW else 0.0
            weight = (error / sum(errors)) ** 1.5
            total += weight * min(0.0, own) / math.sqrt(n)
        found.append(total)
    return found[0], found[1]


def welchs_error(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the standard error of a difference of means, and Satterthwaite's degrees of freedom.

    Parameters
    ----------
    first, second : float64 ndarray, shape (cluster,)
        Two values each at least, not all alike.

    Returns
    -------
    error, freedom : float
        √(v₁/a + v₂/b), v the variances within; its degrees of freedom.

    Examples
    --------
    >>> [round(value, 4) for value in welchs_error(np.array([0.0, 2.0]), np.array([1.0, 3.0]))]
    [1.4142, 2.0]
    """
    a, b = len(first), len(second)
    parts = float(first.var(ddof=1)) / a, float(second.var(ddof=1)) / b
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (a - 1) + parts[1] ** 2 / (b - 1))
    return math.sqrt(sum(parts)), freedom


def students_error(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the standard error of a difference of means of groups that vary alike, and its freedom.

    Parameters
    ----------
    first, second : float64 ndarray, shape (cluster,)
        Two values each at least.

    Returns
    -------
    error, freedom : float
        √(v (1/a + 1/b)), v the pooled variance; a + b − 2.

    Examples
    --------
    >>> students_error(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    (1.4142135623730951, 2)
    """
    a, b = len(first), len(second)
    within = (a * float(first.var()) + b * float(second.var())) / (a + b - 2)
    return math.sqrt(within * (1 / a + 1 / b)), a + b - 2


def labellings(n: int, chosen: int, most: int, rng: np.random.Generator) -> tuple[Ints, bool]:
    """Return the ways to choose the members of a group: all of them, or as many drawn.

    Parameters
    ----------
    n : int
        Members of both groups.
    chosen : int
        Members of the first group.
    most : int
        Most labellings.
    rng : numpy.random.Generator
        Draws them where there are more.

    Returns
    -------
    rows : int64 ndarray, shape (labelling, chosen)
        Members of the first group.
    enumerated : bool
        Whether these are all; the groups as they are is then among them.

    Examples
    --------
    >>> labellings(3, 2, 99, np.random.default_rng(0))[0].tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    if math.comb(n, chosen) <= most:
        return np.array(list(combinations(range(n), chosen)), dtype=np.int64), True
    return np.argsort(rng.random((most, n)), axis=1)[:, :chosen], False


def _welch(pooled: Floats, rows: Ints) -> Floats:
    """Return |t| of each labelling: rows are the members of the first group, (labelling, member)."""
    mine = np.zeros((len(rows), len(pooled)), dtype=bool)
    np.put_along_axis(mine, rows, True, axis=1)
    parts = [_moments(pooled, of) for of in (mine, ~mine)]
    error = np.sqrt(parts[0][1] + parts[1][1])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(parts[0][0] - parts[1][0]) / error
    return np.asarray(np.where(np.isnan(t), 0.0, t))


def _moments(pooled: Floats, of: Ints) -> tuple[Floats, Floats]:
    """Return mean, and squared error of the mean, of the chosen values of each labelling."""
    n = of.sum(axis=1)
    mean = of @ pooled / n
    squares = np.einsum("lv,lv->l", of, (pooled[None] - mean[:, None]) ** 2)
    return mean, squares / (n - 1) / n
