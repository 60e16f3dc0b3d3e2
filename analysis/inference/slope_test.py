"""Test of one regression coefficient over facts, within relations or with an intercept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.regression import clustered_slopes, independent, within
from qloc.analysis.results import TestResult
from qloc.arrays import Floats, Ints

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
    direction: Literal["above", "below", "any"] = "any",
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
        checks=tuple(remarks),
        seed=draws.seed,
        store=store,
    )
