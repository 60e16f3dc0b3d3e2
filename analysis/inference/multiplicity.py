"""Corrections for multiple testing, and the families of tests that a plan corrects together.

:func:`adjusted` and :func:`correct` take one whole family at once; :func:`in_families` divides the tests of
all questions into a confirmatory and an exploratory family and corrects each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import fdrcorrection, multipletests

from qloc.analysis.results import Question, TestResult, Verdict
from qloc.plan import AnalysisPlan

Correction = Literal["holm", "fdr_bh", "fdr_by"]

_NAMES: Final[dict[str, str]] = {
    "holm": "Holm",
    "fdr_bh": "Benjamini–Hochberg",
    "fdr_by": "Benjamini–Yekutieli",
}


def adjusted(p: NDArray[Any] | Sequence[float], correction: Correction = "holm") -> NDArray[np.float64]:
    """Return the adjusted p-values of one family.

    Parameters
    ----------
    p : float ndarray or sequence of float, shape (n,)
        Every test of the family. NaN stands for a test that could not be carried out; it counts as p = 1, so
        that the family is as large as it was planned.
    correction : {"holm", "fdr_bh", "fdr_by"}, default "holm"
        Holm controls the probability of any false rejection; Benjamini–Hochberg (independent or positively
        dependent tests) and Benjamini–Yekutieli (any dependence) control the false discovery rate.

    Returns
    -------
    float64 ndarray, shape (n,)
        In the order of ``p``; NaN where ``p`` is NaN.

    References
    ----------
    Holm 1979; Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001.

    Examples
    --------
    >>> adjusted([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    if not len(values):
        return values
    missing = np.isnan(values)
    planned = np.where(missing, 1.0, values)
    if correction == "holm":
        corrected = multipletests(planned, method="holm")[1]
    else:  # as multipletests, which collects garbage at every call: half a second for each screen
        corrected = fdrcorrection(planned, method="indep" if correction == "fdr_bh" else "negcorr")[1]
    return np.where(missing, np.nan, corrected)


def correct(
    tests: Sequence[TestResult], *, family: str, correction: Correction = "holm", alpha: float = 0.05
) -> tuple[TestResult, ...]:
    """Return the tests of one family with adjusted p-values and the verdicts that follow.

    A test holds where its adjusted p is at most ``alpha``. It does not hold where the adjusted p of its
    equivalence test is at most ``alpha`` (no difference beyond a margin fixed beforehand). Otherwise it is
    undecided, because failing to reject shows nothing. Tests that were not identified stay so.

    Parameters
    ----------
    tests : sequence of TestResult
        The whole family.
    family : str
        Name of the family, such as ``confirmatory``.
    correction : {"holm", "fdr_bh", "fdr_by"}, default "holm"
        As for :func:`adjusted`; p-values of equivalence are a family of their own.
    alpha : float, default 0.05
        Level of the family, within (0, 1).

    Returns
    -------
    tuple of TestResult
        In the order of ``tests``, with ``p_adjusted``, ``p_equivalence``, ``family``, ``alpha``, ``verdict``.
    """
    p = adjusted([_or_nan(test.p) for test in tests], correction)
    equivalence = adjusted([_or_nan(test.p_equivalence) for test in tests], correction)
    name = f"{family} ({_NAMES[correction]}, {len(tests)} test{'s' * (len(tests) != 1)})"
    return tuple(
        replace(
            test,
            p_adjusted=None if np.isnan(value) else float(value),
            p_equivalence=None if np.isnan(within_margin) else float(within_margin),
            family=name,
            alpha=alpha,
            verdict=verdict_of(test, float(value), alpha, float(within_margin)),
        )
        for test, value, within_margin in zip(tests, p, equivalence, strict=True)
    )


def verdict_of(test: TestResult, p: float, alpha: float, p_equivalence: float = math.nan) -> Verdict:
    """Return the verdict that follows from p-values at a level.

    Parameters
    ----------
    test : TestResult
        A verdict of ``descriptive`` or ``not identified`` stays as it is.
    p : float
        Adjusted p of a difference; NaN counts as large.
    alpha : float
        Level, within (0, 1).
    p_equivalence : float, optional
        Adjusted p of no difference beyond a margin; NaN, the default, counts as large.

    Returns
    -------
    str
        ``holds`` where p ≤ alpha, else ``does not hold`` where p_equivalence ≤ alpha, else ``undecided``.
    """
    if test.verdict in ("descriptive", "not identified"):
        return test.verdict
    return "holds" if p <= alpha else "does not hold" if p_equivalence <= alpha else "undecided"


def _or_nan(p: float | None) -> float:
    return math.nan if p is None else p


def in_families(questions: Sequence[Question], plan: AnalysisPlan) -> tuple[Question, ...]:
    """Return the questions with role, adjusted p and verdict of every test.

    Holm's correction is over the tests that the plan names as confirmatory, Benjamini–Hochberg's over all
    others. Descriptive tests belong to neither family and stay as they are.

    Parameters
    ----------
    questions : sequence of Question
        All questions of a study; test names are unique among them.
    plan : AnalysisPlan
        Its ``confirmatory`` names and ``alpha`` are used.

    Returns
    -------
    tuple of Question
        In the order of ``questions``.
    """
    tests = [test for question in questions for test in question.tests if test.role != "descriptive"]
    confirmed = [replace(t, role="confirmatory") for t in tests if t.name in plan.confirmatory]
    explored = [t for t in tests if t.name not in plan.confirmatory]
    corrected = {
        test.name: test
        for test in (
            *correct(confirmed, family="confirmatory", alpha=plan.alpha),
            *correct(explored, family="exploratory", correction="fdr_bh", alpha=plan.alpha),
        )
    }

    def judged(test: TestResult) -> TestResult:
        return test if test.role == "descriptive" else corrected[test.name]

    return tuple(replace(q, tests=tuple(judged(test) for test in q.tests)) for q in questions)
