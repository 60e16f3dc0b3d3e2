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
from statsmodels.stats.multitest import fdrcorrection

from qloc.analysis.inference.detectable import detectable_effect
from qloc.analysis.results import Question, Role, StudyResult, TestResult
from qloc.analysis.verdicts import OPPOSITE_SHARE, answer_of, or_nan, shared_level, verdict_of
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
        corrected = _holm(planned)
    else:
        corrected = fdrcorrection(planned, method="indep" if correction == "fdr_bh" else "negcorr")[1]
    return np.where(missing, np.nan, corrected)


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """As ``multipletests`` of statsmodels, which collects garbage at every call: a third of a second."""
    order = np.argsort(p)
    ordered = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(ordered, 1.0)
    return corrected


def correct(
    tests: Sequence[TestResult], *, family: str, correction: Correction = "holm", alpha: float = 0.05
) -> tuple[TestResult, ...]:
    """Return the tests of one family with adjusted p-values and the verdicts that follow.

    p and p of the opposite (:func:`qloc.analysis.verdicts.shared_level`), and p of equivalence are each
    adjusted over the family, and so is the least p that the data could give: what no data of this size could
    show is told from what stayed undecided. Tests that were not identified stay so. Raw p-values are kept, so
    that tests can be corrected again in a larger family.

    Parameters
    ----------
    tests : sequence of TestResult
        The whole family.
    family : str
        Name of the family, such as ``confirmatory``.
    correction : {"holm", "fdr_bh", "fdr_by"}, default "holm"
        As for :func:`adjusted`.
    alpha : float, default 0.05
        Level of the family, within (0, 1).

    Returns
    -------
    tuple of TestResult
        In the order of ``tests``: ``p_adjusted``, ``p_opposite_adjusted``, ``p_equivalence_adjusted``,
        ``least_p_adjusted``, ``family``, ``alpha``, ``verdict``, and ``detectable`` where undecided.
    """
    both = [shared_level(test.p, test.p_opposite) for test in tests]
    p = [or_nan(asked) for asked, _ in both]
    found = {
        "p_adjusted": adjusted(p, correction),
        "p_opposite_adjusted": adjusted([or_nan(opposite) for _, opposite in both], correction),
        "p_equivalence_adjusted": adjusted([or_nan(test.p_equivalence) for test in tests], correction),
        "least_p_adjusted": adjusted([_bound(test) for test in tests], correction),
    }
    name = f"{family} ({_NAMES[correction]}, {len(tests)} test{'s' * (len(tests) != 1)})"
    corrected = []
    for place, test in enumerate(tests):
        values = {attribute: _or_none(column[place]) for attribute, column in found.items()}
        values["least_p_adjusted"] = None if test.least_p is None else values["least_p_adjusted"]
        verdict = test.verdict
        if verdict not in ("descriptive", "not identified"):
            verdict = verdict_of(
                p=values["p_adjusted"],
                p_opposite=values["p_opposite_adjusted"],
                p_equivalence=values["p_equivalence_adjusted"],
                least_p=values["least_p_adjusted"],
                alpha=alpha,
            )
        left = level_left(p, place, correction, alpha) if verdict == "undecided" else 0.0
        left *= 1.0 if test.p_opposite is None else 1 - OPPOSITE_SHARE
        effect = detectable_effect(test, left) if left else None
        corrected.append(
            replace(test, **values, family=name, alpha=alpha, verdict=verdict, detectable=effect)  # type: ignore[arg-type]
        )
    return tuple(corrected)


def _bound(test: TestResult) -> float:
    """Return the least p of one test of a family: 0 where nothing bounds it, NaN where there is no p."""
    return math.nan if test.p is None else or_nan(shared_level(test.least_p or 0.0, test.p_opposite)[0])


def level_left(p: Sequence[float], place: int, correction: Correction, alpha: float) -> float:
    """Return the largest p with which one test would be rejected, the others' p-values being what they are.

    Parameters
    ----------
    p : sequence of float
        Raw p-values of the whole family; NaN counts as 1.
    place : int
        Which of them may change.
    correction : {"holm", "fdr_bh", "fdr_by"}
        As for :func:`adjusted`.
    alpha : float
        Level of the family.

    Returns
    -------
    float
        Between α/n (Holm, Benjamini–Hochberg) and α for n tests.

    Examples
    --------
    >>> level_left([0.2, 0.3], 0, "holm", 0.05), level_left([0.2, 0.001], 0, "holm", 0.05)
    (0.025, 0.05)
    """
    n = len(p)
    scale = float(np.sum(1 / np.arange(1, n + 1))) if correction == "fdr_by" else 1.0
    steps = [alpha * k / n / scale for k in range(1, n + 1)]
    if correction == "holm":
        steps = sorted(alpha / k for k in range(1, n + 1))
    tried = list(p)
    low, high = 0, n  # the first step is always rejected; bisect for the last one that is
    while high - low > 1:
        middle = (low + high) // 2
        tried[place] = steps[middle]
        if adjusted(tried, correction)[place] <= alpha * (1 + 1e-9):
            low = middle
        else:
            high = middle
    return float(steps[low])


def _or_none(p: float) -> float | None:
    return None if math.isnan(p) else float(p)


def in_families(questions: Sequence[Question], plan: AnalysisPlan) -> tuple[Question, ...]:
    """Return the questions with role, adjusted p and verdict of every test, and the answers that follow.

    Parameters
    ----------
    questions : sequence of Question
        All questions of a study. An answer without verdicts yet counts as what was measured.
    plan : AnalysisPlan
        As for :func:`corrected_families`.

    Returns
    -------
    tuple of Question
        In the order of ``questions``.
    """
    corrected = iter(corrected_families([test for question in questions for test in question.tests], plan))
    return tuple(with_verdicts(q, tuple(next(corrected) for _ in q.tests)) for q in questions)


def across_studies(results: Sequence[StudyResult], plan: AnalysisPlan) -> tuple[StudyResult, ...]:
    """Return results of several studies, their tests corrected in families over all of them.

    A report on several models has a verdict on each: the probability of any false one is that of all
    together.

    Parameters
    ----------
    results : sequence of StudyResult
        One a study, each corrected by itself or not at all.
    plan : AnalysisPlan
        As for :func:`corrected_families`.

    Returns
    -------
    tuple of StudyResult
        In the order of ``results``; one alone is corrected by itself.
    """
    tests = [test for result in results for test in result.tests()]
    corrected = iter(corrected_families(tests, plan, n_studies=len(results)))
    return tuple(
        replace(
            result,
            questions=tuple(
                with_verdicts(question, tuple(next(corrected) for _ in question.tests))
                for question in result.questions
            ),
        )
        for result in results
    )


def corrected_families(
    tests: Sequence[TestResult], plan: AnalysisPlan, *, n_studies: int = 1
) -> tuple[TestResult, ...]:
    """Return tests with role, adjusted p and verdict.

    Holm's correction is over the tests that the plan names as confirmatory, Benjamini–Hochberg's
    (Benjamini–Yekutieli's, where the plan says so) over all others. Descriptive tests belong to neither
    family and stay as they are.

    Parameters
    ----------
    tests : sequence of TestResult
        All tests of one study, or of several.
    plan : AnalysisPlan
        Its ``confirmatory`` names, ``exploratory_correction`` and ``alpha`` are used.
    n_studies : int, default 1
        Number of studies that the tests are of, for the name of the family.

    Returns
    -------
    tuple of TestResult
        In the order of ``tests``.
    """
    over = f" over {n_studies} studies" if n_studies > 1 else ""
    corrections: dict[Role, Correction] = {
        "confirmatory": "holm",
        "exploratory": plan.exploratory_correction,
    }
    corrected = list(tests)
    for role, correction in corrections.items():
        confirming = role == "confirmatory"
        places = [
            place
            for place, test in enumerate(tests)
            if test.role != "descriptive" and (test.name in plan.confirmatory) == confirming
        ]
        family = [replace(tests[place], role=role) for place in places]
        judged = correct(family, family=f"{role}{over}", correction=correction, alpha=plan.alpha)
        for place, test in zip(places, judged, strict=True):
            corrected[place] = test
    return tuple(corrected)


def with_verdicts(question: Question, tests: tuple[TestResult, ...]) -> Question:
    """Return a question with corrected tests, and its answer made from their verdicts.

    Parameters
    ----------
    question : Question
        Where its ``measured`` is None, its answer is what was measured.
    tests : tuple of TestResult
        The question's tests, corrected.

    Returns
    -------
    Question
        A sentence for each verdict, then what was measured.
    """
    measured = question.answer if question.measured is None else question.measured
    return replace(question, tests=tests, measured=measured, answer=answer_of(tests, measured))
