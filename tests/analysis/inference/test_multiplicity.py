"""Corrections are of a family at once, with published golden values."""

import numpy as np
import pytest

from qloc.analysis.inference.multiplicity import adjusted, correct
from qloc.analysis.results import TestResult

# R 4.3: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), "BH", "BY".
P = [0.01, 0.02, 0.03, 0.04, 0.05]
GOLDEN = {
    "holm": [0.05, 0.08, 0.09, 0.09, 0.09],
    "fdr_bh": [0.05, 0.05, 0.05, 0.05, 0.05],
    "fdr_by": [0.1141667, 0.1141667, 0.1141667, 0.1141667, 0.1141667],
}


def result(name: str, p: float | None, verdict: str = "undecided") -> TestResult:
    return TestResult(
        name=name, question="?", estimand="e", unit="fact", n={"facts": 1}, estimate=0.0, interval=None,
        effect=None, method="m", p=p, role="confirmatory", verdict=verdict,
    )  # fmt: skip


@pytest.mark.parametrize("correction", GOLDEN)
def test_golden(correction):
    assert adjusted(P, correction) == pytest.approx(GOLDEN[correction], abs=5e-8)


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
