"""One coefficient of a regression over facts, within relations or with an intercept, as a TestResult."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from scipy import stats

from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.regression import Slope, clustered_slopes, independent, within
from qloc.analysis.inference.shared_answers import crossed, crossed_error
from qloc.analysis.results import Interval, TestResult
from qloc.arrays import Floats, Ints

LEAST: Final = 5
"""Facts, beyond relations and coefficients, that a regression takes."""


def slope_test(
    y: Floats,
    columns: Mapping[str, Floats],
    clusters: tuple[Ints, Ints],
    *,
    name: str,
    question: str,
    estimand: str,
    draws: Draws,
    inside: bool = True,
    direction: Literal["above", "below", "any"] = "any",
    checks: tuple[str, ...] = (),
    store: str = "",
) -> TestResult:
    """The coefficient of the first of ``columns``, the others held, clustered by relation.

    Parameters
    ----------
    y : float64, (fact,); facts with NaN here or in a column are left out.
    columns : name → float64, (fact,).
    clusters : relation and answer of each fact; under 40 relations by the wild cluster bootstrap over them,
        which knows of no answers that several relations have: with such answers p is no less than that of
        the two-way cluster-robust t, and the interval no narrower.
    inside : slopes within relations (each with an intercept of its own); else the columns are the whole
        design: give a column of ones where there is to be an intercept.
    direction : what the hypothesis says of the coefficient; p is one-sided where it says one (half of the
        two-sided p, or 1 less that).

    Returns
    -------
    TestResult : "not identified" with fewer than three relations or too few facts, or where the first column
        does not vary.
    """
    x = np.column_stack([*columns.values()])
    keep = np.isfinite(y) & np.isfinite(x).all(axis=1)
    group, answer = (codes(way[keep]) if keep.any() else way[:0] for way in clusters)
    both = np.column_stack([y, x])[keep]
    if inside and len(both):
        both = within(both, group)
        # What is constant within relations is 0 here, but for rounding.
        both[:, np.abs(both).max(axis=0) < 1e-9] = 0.0
    kept = independent(both[:, 1:]) if len(both) else []
    spent = len(kept) + (n_codes(group) if inside else 0)
    able = n_codes(group) >= 3 and kept[:1] == [0] and both[:, 0].any() and len(both) >= spent + LEAST
    design = both[:, 1:][:, kept]
    slope = clustered_slopes(both[:, 0], design, group, [0], draws)[0] if able else None
    if slope and crossed(group, answer):
        slope = _two_way(slope, both[:, 0], design, (group, answer), draws)
    names = list(columns)
    held = ", ".join(names[place] for place in kept[1:])
    told = [*checks, f"Held{', within relations' if inside else ''}: {held or 'nothing'}."]
    dropped = [name for place, name in enumerate(names) if place not in kept]
    if dropped and able:
        told.append(f"Left out, without spread of their own: {', '.join(dropped)}.")
    p = slope.p if slope else float("nan")
    if slope and direction != "any":
        p = p / 2 if (slope.estimate > 0) == (direction == "above") else 1 - p / 2
    side = "two-sided" if direction == "any" else f"one-sided ({direction} 0)"
    return TestResult(
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
        verdict="not identified" if np.isnan(p) else "holds" if p <= draws.alpha else "undecided",
        alpha=draws.alpha,
        checks=tuple(told),
        seed=draws.seed,
        store=store,
    )


def _two_way(slope: Slope, y: Floats, x: Floats, clusters: tuple[Ints, Ints], draws: Draws) -> Slope:
    """The first coefficient with p and interval that are also robust to answers across relations.

    Linearized, fact i adds n · [(X'X)⁻¹ x_i]_0 u_i to it, whose mean has a two-way cluster-robust variance.
    """
    score = np.linalg.solve(x.T @ x, x.T)[0] * (y - x @ np.linalg.lstsq(x, y, rcond=None)[0])
    error, freedom = crossed_error(slope.estimate + len(y) * score, *clusters)
    if not error > 0:
        return slope
    half = float(stats.t.ppf((1 + draws.confidence) / 2, freedom)) * error
    method = f"{slope.method}; answers cross relations: no less wide than two-way, t({freedom:.1f})"
    low = min(slope.interval.low, slope.estimate - half)
    high = max(slope.interval.high, slope.estimate + half)
    interval = Interval(low=low, high=high, confidence=draws.confidence, method=method)
    effect = slope.effect
    if effect and slope.estimate:
        scale = effect.value / slope.estimate
        effect = replace(effect, interval=replace(interval, low=scale * low, high=scale * high))
    return replace(
        slope,
        interval=interval,
        effect=effect,
        p=max(slope.p, 2 * float(stats.t.sf(abs(slope.estimate) / error, freedom))),
        method=method,
    )
