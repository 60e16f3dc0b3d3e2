"""Corrections are of a family at once, with published golden values; verdicts follow from them."""

import math
from typing import Any, get_args

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from qloc.analysis.inference.multiplicity import Correction, adjusted, correct, in_families, verdict_of
from qloc.analysis.results import Question, Role, TestResult, Verdict
from qloc.plan import AnalysisPlan

# R 4.3: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), "BH", "BY".
P = [0.01, 0.02, 0.03, 0.04, 0.05]
GOLDEN: dict[Correction, list[float]] = {
    "holm": [0.05, 0.08, 0.09, 0.09, 0.09],
    "fdr_bh": [0.05, 0.05, 0.05, 0.05, 0.05],
    "fdr_by": [0.1141667, 0.1141667, 0.1141667, 0.1141667, 0.1141667],
}


def result(
    name: str, p: float | None, verdict: Verdict = "undecided", role: Role = "exploratory", **more: Any
) -> TestResult:
    return TestResult(
        name=name, question="?", estimand="e", unit="fact", n={"facts": 1}, estimate=0.0, interval=None,
        effect=None, method="m", p=p, role=role, verdict=verdict, **more,
    )  # fmt: skip


@pytest.mark.parametrize("correction", GOLDEN)
def test_golden(correction):
    assert adjusted(P, correction) == pytest.approx(GOLDEN[correction], abs=5e-8)


@pytest.mark.parametrize("correction", GOLDEN)
def test_corrections_are_those_of_statsmodels(correction, rng):
    for n in (1, 2, 17):
        p = np.round(rng.random(n), 1)  # with ties
        assert adjusted(p, correction).tolist() == multipletests(p, method=correction)[1].tolist()


def test_a_family_is_corrected_at_once_and_not_one_by_one():
    together = adjusted(P)
    alone = np.concatenate([adjusted([p]) for p in P])
    assert alone.tolist() == P
    assert (together > alone).all()


def test_order_does_not_matter():
    order = [3, 0, 4, 1, 2]
    assert adjusted(np.array(P)[order]).tolist() == adjusted(P)[order].tolist()


def test_what_could_not_be_tested_still_counts():
    found = adjusted([0.02, np.nan])
    assert found[0] == 0.04
    assert np.isnan(found[1])
    assert adjusted([]).tolist() == []


def test_verdicts_follow_the_adjusted_p():
    tests = [result("a", 0.03), result("b", 0.04), result("c", None, "not identified")]
    found = correct(tests, family="confirmatory")
    assert [t.p_adjusted for t in found] == [pytest.approx(0.09), pytest.approx(0.09), None]
    assert [t.verdict for t in found] == ["undecided", "undecided", "not identified"]
    assert {t.family for t in found} == {"confirmatory (Holm, 3 tests)"}
    assert correct([result("a", 0.05)], family="one")[0].verdict == "holds"
    assert correct([], family="none") == ()


def test_families_correct_equivalence_like_p():
    tests = [
        result("a", 0.9, margin=0.1, p_equivalence=0.02),
        result("b", 0.8, margin=0.1, p_equivalence=0.04),
        result("c", 0.01),
    ]
    found = correct(tests, family="f")
    assert [t.p_equivalence for t in found] == [pytest.approx(0.06), pytest.approx(0.08), None]
    assert [t.verdict for t in found] == ["undecided", "undecided", "holds"]
    found = correct([result("a", 0.9, margin=0.1, p_equivalence=0.02)], family="f")
    assert found[0].verdict == "does not hold"
    assert "within ±0.1, p = 0.02" in found[0].sentence()


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_what_is_descriptive_or_not_identified_gets_no_verdict(verdict):
    test = result("a", 0.5, verdict)
    if verdict in ("descriptive", "not identified"):
        assert verdict_of(test, 0.0, 0.05) == verdict
        return
    assert verdict_of(test, 0.05, 0.05, 0.0) == "holds"
    assert verdict_of(test, 0.051, 0.05, 0.05) == "does not hold"
    assert verdict_of(test, math.nan, 0.05) == "undecided"


def test_families_are_those_of_the_plan():
    """Holm over the two tests that the plan names, Benjamini–Hochberg over the two others."""
    questions = (
        Question(id="q", title="?", answer="", tests=(result("H1a", 0.02), result("x", 0.02))),
        Question(
            id="r",
            title="?",
            answer="",
            tests=(
                result("H1b", 0.03),
                result("y", 0.04),
                result("z", None, "descriptive", "descriptive"),
            ),
        ),
    )
    first, second = in_families(questions, AnalysisPlan(confirmatory=("H1a", "H1b", "H9")))
    a, x = first.tests
    b, y, z = second.tests
    assert [test.p_adjusted for test in (a, b, x, y)] == pytest.approx([0.04] * 4)
    assert [test.role for test in (a, b, x, y)] == ["confirmatory"] * 2 + ["exploratory"] * 2
    assert {test.verdict for test in (a, b, x, y)} == {"holds"}
    assert {a.family, b.family} == {"confirmatory (Holm, 2 tests)"}
    assert {x.family, y.family} == {"exploratory (Benjamini–Hochberg, 2 tests)"}
    assert z is questions[1].tests[2]
