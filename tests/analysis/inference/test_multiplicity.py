"""Corrections are of a family at once, with published golden values; verdicts follow from them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from qloc.analysis.inference.multiplicity import (
    Correction,
    across_studies,
    adjusted,
    correct,
    in_families,
    level_left,
)
from qloc.analysis.results import Interval, Question, Role, StudyResult, TestResult, Verdict
from qloc.hypothesis_registry import REGISTRY
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


def test_families_correct_every_claim_like_p_and_keep_what_is_raw():
    tests = [
        result("a", 0.9, margin=0.1, p_equivalence=0.02, p_opposite=0.004),
        result("b", 0.8, margin=0.1, p_equivalence=0.04, p_opposite=0.9),
        result("c", 0.01),
    ]
    found = correct(tests, family="f")
    assert [t.p_equivalence_adjusted for t in found] == [pytest.approx(0.06), pytest.approx(0.08), None]
    assert [t.p_opposite_adjusted for t in found] == [pytest.approx(0.06), 1.0, None]
    assert [t.verdict for t in found] == ["undecided", "undecided", "holds"]
    assert correct(found, family="f") == found
    found = correct([result("a", 0.9, margin=0.1, p_equivalence=0.02)], family="f")
    assert found[0].verdict == "no relevant difference"
    assert "within ±0.1, p = 0.02" in found[0].sentence()
    assert correct([result("a", 0.99, p_opposite=0.008)], family="f")[0].verdict == "the opposite holds"


def test_what_no_data_of_this_size_can_show_is_told():
    """Six relations: 2⁻⁶ = .0156 one-sided. Four such tests under Holm need .0125; three do not.

    Where the opposite is tested too, what is asked has nine tenths of α: three tests need .015.
    """
    least: dict[str, Any] = {"least_p": 2.0**-6, "least_by": "6 relations"}
    four = correct([result(name, 0.3, **least) for name in "abcd"], family="f")
    assert {t.verdict for t in four} == {"cannot be told"}
    assert [t.least_p_adjusted for t in four] == [0.0625] * 4
    three = correct([result(name, 0.3, **least) for name in "abc"], family="f")
    assert {t.verdict for t in three} == {"undecided"}
    both = correct([result(name, 0.3, p_opposite=1.0, **least) for name in "abc"], family="f")
    assert {t.verdict for t in both} == {"cannot be told"}
    # Beside three tests that could be as small as they need to be, the fourth is the last of Holm's steps.
    mixed = correct([*(result(name, 0.3) for name in "abc"), result("d", 0.3, **least)], family="f")
    assert [t.verdict for t in mixed] == ["undecided"] * 4
    assert mixed[3].least_p_adjusted == 2.0**-6


@pytest.mark.parametrize("correction", GOLDEN)
def test_the_level_left_is_the_largest_p_that_would_be_rejected(correction, rng):
    for n in (1, 2, 9):
        p = rng.random(n) ** 3
        place = int(rng.integers(n))

        def rejected(value, p=p, place=place):
            tried = p.copy()
            tried[place] = value
            return adjusted(tried, correction)[place] <= 0.05

        level = level_left(p.tolist(), place, correction, 0.05)
        assert rejected(level * (1 - 1e-9))
        assert not rejected(level * (1 + 1e-9))


def test_what_would_have_been_found_stands_beside_what_is_undecided():
    """Standard error 1, alone and as one of two tests: 1.645 + 0.842, and 1.960 + 0.842 at 0.025."""
    ends = Interval(low=-1.96, high=1.96, confidence=0.95, method="normal")
    alone = correct([replace(result("a", 0.5), interval=ends)], family="f")[0]
    assert alone.detectable == pytest.approx(1.645 + 0.842, abs=1e-3)
    first, second = correct(
        [replace(result("a", 0.5), interval=ends), replace(result("b", 0.01), interval=ends)], family="f"
    )
    assert first.detectable == pytest.approx(1.645 + 0.842, abs=1e-3)  # the other is rejected
    assert (second.verdict, second.detectable) == ("holds", None)
    both = correct([replace(result(n, 0.5), interval=ends, direction="two-sided") for n in "ab"], family="f")
    assert both[0].detectable == pytest.approx(2.241 + 0.842, abs=1e-3)


@pytest.mark.parametrize("verdict", ["descriptive", "not identified"])
def test_what_is_descriptive_or_not_identified_gets_no_verdict(verdict):
    assert correct([result("a", 0.001, verdict)], family="f")[0].verdict == verdict


def test_several_studies_of_one_report_are_families_of_all_of_them():
    """Two studies with p = .03 each: alone both hold, together neither; the same again when corrected twice."""

    def study(*tests):
        return StudyResult(
            title="t", model="m", facts="f", provenance={}, counts={}, plan={},
            questions=(Question(id="q", title="?", answer="Measured.", tests=tests),),
        )  # fmt: skip

    plan = AnalysisPlan(confirmatory=("H1a",), exploratory_correction="fdr_by")
    studies = [study(result("H1a", 0.03), result("x", 0.02)), study(result("H1a", 0.03), result("x", 0.03))]
    alone = across_studies(studies[:1], plan)[0].tests()
    assert [test.verdict for test in alone] == ["holds", "holds"]
    together = across_studies(studies, plan)
    first, second = (one.tests() for one in together)
    assert (first[0].p_adjusted, first[0].family) == (0.06, "confirmatory over 2 studies (Holm, 2 tests)")
    assert [test.p_adjusted for test in (first[1], second[1])] == pytest.approx([0.045, 0.045])
    assert second[1].family == "exploratory over 2 studies (Benjamini–Yekutieli, 2 tests)"
    assert across_studies(together, plan) == together


def test_answers_are_made_after_correction_from_verdicts_alone():
    """p = .03 of two confirmatory tests: undecided after Holm, and told so, whatever came before."""
    tests = tuple(
        replace(result(name, 0.03), claims=REGISTRY[name].claims, verdict="holds") for name in ("H1a", "H1b")
    )
    question = Question(id="q", title="?", answer="Sets have 4 neurons.", tests=tests)
    plan = AnalysisPlan(confirmatory=("H1a", "H1b"))
    (found,) = in_families([question], plan)
    assert found.answer == (
        "It is undecided whether a fact's queries share more neurons than the same templates do over other "
        "facts (0). It is undecided whether a fact's queries share more neurons than its answer does over "
        "other facts (0). Sets have 4 neurons."
    )
    assert in_families([found], plan) == (found,)


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
