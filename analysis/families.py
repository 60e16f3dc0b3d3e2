"""One confirmatory and one exploratory family over all tests of an analysis, each corrected at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qloc.analysis.multiplicity import correct
from qloc.analysis.results import Question, TestResult
from qloc.plan import AnalysisPlan


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
