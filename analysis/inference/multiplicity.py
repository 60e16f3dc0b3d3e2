"""Corrections for testing several things, each applied to its whole family at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from qloc.analysis.results import Question, TestResult, Verdict
from qloc.plan import AnalysisPlan

Correction = Literal["holm", "fdr_bh", "fdr_by"]

_NAMES: Final[dict[str, str]] = {
    "holm": "Holm",
    "fdr_bh": "Benjamini–Hochberg",
    "fdr_by": "Benjamini–Yekutieli",
}


def adjusted(p: NDArray[Any] | Sequence[float], correction: Correction = "holm") -> NDArray[np.float64]:
    """Adjusted p-values of one family.

    Parameters
    ----------
    p : float, (n,), every test of the family; NaN for one that could not be carried out, which counts as p =
        1, so that the family is as large as it was planned.
    correction : ``holm``, ``fdr_bh`` or ``fdr_by``.

    Returns
    -------
    float64, (n,), NaN where ``p`` is.

    References
    ----------
    Holm 1979; Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001; through statsmodels.

    Examples
    --------
    >>> adjusted([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    if not len(values):
        return values
    missing = np.isnan(values)
    out = np.asarray(multipletests(np.where(missing, 1.0, values), method=correction)[1], dtype=np.float64)
    return np.where(missing, np.nan, out)


def correct(
    tests: Sequence[TestResult], *, family: str, correction: Correction = "holm", alpha: float = 0.05
) -> tuple[TestResult, ...]:
    """The tests with adjusted p and the verdict that follows from it.

    A test holds where its adjusted p is at most ``alpha``; it does not hold where the adjusted p of its
    equivalence test is (no difference beyond a margin fixed beforehand); else it is undecided: failing to
    reject shows nothing. What was not identified stays so.

    Parameters
    ----------
    tests : the whole family.
    family : its name, such as ``confirmatory``.
    """
    p = adjusted([_or_nan(test.p) for test in tests], correction)
    none = adjusted([_or_nan(test.p_equivalence) for test in tests], correction)
    name = f"{family} ({_NAMES[correction]}, {len(tests)} test{'s' * (len(tests) != 1)})"
    return tuple(
        replace(
            test,
            p_adjusted=None if np.isnan(value) else float(value),
            p_equivalence=None if np.isnan(small) else float(small),
            family=name,
            alpha=alpha,
            verdict=verdict_of(test, float(value), alpha, float(small)),
        )
        for test, value, small in zip(tests, p, none, strict=True)
    )


def verdict_of(test: TestResult, p: float, alpha: float, p_equivalence: float = math.nan) -> Verdict:
    """``holds`` where p, else ``does not hold`` where p of equivalence, is at or below ``alpha``.

    Otherwise ``undecided``; descriptive and unidentified stay so.
    """
    if test.verdict in ("descriptive", "not identified"):
        return test.verdict
    return "holds" if p <= alpha else "does not hold" if p_equivalence <= alpha else "undecided"


def _or_nan(p: float | None) -> float:
    return math.nan if p is None else p


def in_families(questions: Sequence[Question], plan: AnalysisPlan) -> tuple[Question, ...]:
    """The questions with every test's role, adjusted p and verdict.

    Holm over the tests that the plan confirms, Benjamini–Hochberg over the others; descriptive ones stay out.
    """
    tests = [test for question in questions for test in question.tests if test.role != "descriptive"]
    confirmed = [replace(t, role="confirmatory") for t in tests if t.name in plan.confirmatory]
    explored = [t for t in tests if t.name not in plan.confirmatory]
    done = {
        test.name: test
        for test in (
            *correct(confirmed, family="confirmatory", alpha=plan.alpha),
            *correct(explored, family="exploratory", correction="fdr_bh", alpha=plan.alpha),
        )
    }

    def judged(test: TestResult) -> TestResult:
        return test if test.role == "descriptive" else done[test.name]

    return tuple(replace(q, tests=tuple(judged(test) for test in q.tests)) for q in questions)
