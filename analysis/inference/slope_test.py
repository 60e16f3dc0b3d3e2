"""Test of one regression coefficient over facts, within relations or with an intercept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.equivalence import tost_p
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.regression import (
    Slope,
    clustered_slopes,
    few_answers_in_words,
    independent,
    within,
)
from qloc.analysis.inference.relation_effects import slopes_in_words
from qloc.analysis.results import NEW_RELATIONS, TestResult
from qloc.analysis.verdicts import judged
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import Direction as Asked

Direction = Literal["above", "below", "any"]
"""The sign of a coefficient that is asked for."""

_ASKED: Final[Mapping[Direction, Asked]] = {"above": "more", "below": "less", "any": "two-sided"}

SLOPE_MARGIN: Final = 0.1
"""Standardized slope that counts as none."""

SLOPE_UNIT: Final = "standard deviations"
"""Unit of a standardized slope."""

LEAST_RESIDUAL_FREEDOM: Final = 5
"""Number of facts that a regression needs beyond its relations and coefficients."""


def slope_test(
    y: Floats,
    columns: Mapping[str, Floats],
    clusters: tuple[Ints, Ints],
    *,
    name: str,
    question: str,
    estimand: str,
    draws: Draws = DRAWS,
    inside: bool = True,
    direction: Direction = "any",
    margin: float = SLOPE_MARGIN,
    margin_unit: str = SLOPE_UNIT,
    checks: tuple[str, ...] = (),
    store: str = "",
) -> TestResult:
    """Test the coefficient of the first column, with the other columns held, clustered by relation.

    p is the larger of that of the cluster-robust t, two-way where several relations share answers, and that
    of the wild cluster bootstrap over relations; the interval has the farther ends.

    Parameters
    ----------
    y : float64 ndarray, shape (fact,)
        The outcome; facts with NaN here or in a column are left out.
    columns : mapping of str to float64 ndarray, shape (fact,) each
        Names and values of the regressors; the first one is tested.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    name : str
        Short name of the test, such as ``H10a``.
    question : str
        What is asked, in one line.
    estimand : str
        What the coefficient estimates, in words.
    draws : Draws, optional
        ``n_bootstrap``, ``confidence``, ``alpha`` and ``seed`` are used.
    inside : bool, default True
        Whether slopes are within relations, each with an intercept of its own. If False, the columns are the
        whole design: an intercept is a column of ones.
    direction : {"above", "below", "any"}, default "any"
        The sign of the coefficient under the hypothesis. p is one-sided for "above" and "below": half of the
        two-sided p, or 1 minus that half.
    margin : float, default 0.1
        Smallest effect of interest: of the standardized slope if ``inside``, else of the coefficient itself.
    margin_unit : str, optional
        Unit of ``margin``, in words.
    checks : tuple of str, optional
        Caveats to be stored with the result, one sentence each.
    store : str, optional
        Fingerprint of the store.

    Returns
    -------
    TestResult
        Exploratory, not adjusted; ``not identified`` with fewer than three relations, with too few facts, or
        where the first column does not vary.

    References
    ----------
    Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", JHR 50, §VI.
    """
    x = np.column_stack([*columns.values()])
    keep = np.isfinite(y) & np.isfinite(x).all(axis=1)
    group, answer = (codes(way[keep]) if keep.any() else way[:0] for way in clusters)
    both = np.column_stack([y, x])[keep]
    if inside and len(both):
        both = within(both, group)
        # A column that is constant within relations is 0 here, except for rounding errors.
        both[:, np.abs(both).max(axis=0) < 1e-9] = 0.0
    kept = independent(both[:, 1:]) if len(both) else []
    spent = len(kept) + (n_codes(group) if inside else 0)
    able = (
        n_codes(group) >= 3
        and kept[:1] == [0]
        and both[:, 0].any()
        and len(both) >= spent + LEAST_RESIDUAL_FREEDOM
    )
    design = both[:, 1:][:, kept]
    slope = clustered_slopes(both[:, 0], design, (group, answer), [0], draws)[0] if able else None
    names = list(columns)
    held = ", ".join(names[place] for place in kept[1:])
    remarks = [*checks, f"Held{', within relations' if inside else ''}: {held or 'nothing'}."]
    dropped = [name for place, name in enumerate(names) if place not in kept]
    if dropped and able:
        remarks.append(f"Left out, without spread of their own: {', '.join(dropped)}.")
    if able:
        remarks += few_answers_in_words({"relation": group, "object": answer})
        remarks += slopes_in_words(both[:, 0], design, group)
    p, opposite = directed_p(slope, direction)
    equal = equivalence_p(slope, margin, standardized=inside)
    least = 1 / (draws.n_bootstrap + 1) / (1 if direction == "any" else 2) if slope else None
    side = "two-sided" if direction == "any" else f"one-sided ({direction} 0)"
    result = TestResult(
        name=name,
        question=question,
        estimand=estimand,
        unit="fact",
        n={"relations": n_codes(group), "facts": len(group)},
        estimate=slope.estimate if slope else float("nan"),
        interval=slope.interval if slope else None,
        effect=slope.effect if slope else None,
        method=f"{slope.method}; {side}" if slope else "least squares, cluster-robust: not possible",
        p=None if np.isnan(p) else p,
        role="exploratory",
        direction=_ASKED[direction],
        alpha=draws.alpha,
        p_opposite=opposite,
        target=NEW_RELATIONS if slope else "",
        margin=margin,
        margin_unit=margin_unit,
        standardized=inside,
        p_equivalence=equal,
        least_p=least,
        least_by=f"{draws.n_bootstrap} resamples" if least else "",
        checks=(*remarks, f"Smallest effect of interest: ±{margin:g} {margin_unit}."),
        seed=draws.seed,
        store=store,
    )
    return judged(result)


def directed_p(slope: Slope | None, direction: Direction) -> tuple[float, float | None]:
    """Return p of what is asked of a coefficient, and p of its opposite.

    Parameters
    ----------
    slope : Slope or None
        With its two-sided p.
    direction : {"above", "below", "any"}
        The sign that is asked for.

    Returns
    -------
    p : float
        One-sided where a sign is asked for: half of the two-sided p, or 1 minus that half. NaN without slope.
    opposite : float or None
        The two-sided p where the coefficient has the other sign, else 1; None where none is asked for.
    """
    if slope is None or np.isnan(slope.p):
        return float("nan"), None
    if direction == "any":
        return slope.p, None
    if (slope.estimate > 0) == (direction == "above"):
        return slope.p / 2, 1.0
    return 1 - slope.p / 2, slope.p


def equivalence_p(slope: Slope | None, margin: float, *, standardized: bool) -> float | None:
    """Return p of two one-sided tests of a coefficient against ±margin.

    As for the coefficient being 0, each is the larger p of t and of the wild cluster bootstrap (half of its
    two-sided p, the margin imposed).

    Parameters
    ----------
    slope : Slope or None
        With its error and degrees of freedom.
    margin : float
        Smallest effect of interest, above 0.
    standardized : bool
        Whether ``margin`` is of the standardized slope.

    Returns
    -------
    float or None
        None where it is not defined.
    """
    if slope is None or (standardized and slope.effect is None):
        return None
    scale = 1.0
    if standardized and slope.effect is not None:
        scale = slope.effect.value / slope.estimate if slope.estimate else 0.0
    p = tost_p(slope.estimate * scale, slope.error * scale, slope.freedom, margin)
    if np.isnan(p):
        return None
    if abs(slope.estimate * scale) < margin and scale:
        ends = (-margin / scale, margin / scale)
        p = float(np.fmax.reduce([p, *(wild.p(end) / 2 for wild in slope.wild for end in ends)]))
    return p
