"""Verdicts: every region of an estimate in every direction; sentences of every question from verdicts alone."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.multiplicity import correct
from qloc.analysis.inference.paired import paired_test
from qloc.analysis.inference.slope_test import slope_test
from qloc.analysis.results import Interval, TestResult, Verdict
from qloc.analysis.verdicts import answer_of, judged, sentence_of, verdict_of
from qloc.hypothesis_registry import CONFIRMABLE, REGISTRY

VERDICTS = get_args(Verdict)


def a_test(name: str, estimate: float = 0.3, p: float = 0.5, **more) -> TestResult:
    entry = REGISTRY[name]
    return TestResult(
        name=name, question=entry.question, estimand="e", unit="fact", n={"relations": 6}, estimate=estimate,
        interval=Interval(low=estimate - 0.1, high=estimate + 0.1, confidence=0.95, method="t"), effect=None,
        method="m", p=p, role="exploratory", direction=entry.direction, claims=entry.claims, margin=0.1, **more,
    )  # fmt: skip


def test_rules_apply_in_order():
    """By brute force over what each p may be: at most α, or above it, or there is none."""
    small, large = 0.05, 0.0501
    for p, opposite, equal, least in product((small, large, None, math.nan), repeat=4):
        found = verdict_of(p=p, p_opposite=opposite, p_equivalence=equal, least_p=least)
        if equal == small:
            assert found == "no relevant difference"
        elif p == small:
            assert found == "holds"
        elif opposite == small:
            assert found == "the opposite holds"
        else:
            assert found == ("cannot be told" if least == large else "undecided")


def test_a_small_effect_is_no_relevant_difference_however_sure():
    """A mean of 0.019 (s.e. 0.001) within ±0.1 differs from 0, and does not matter."""
    rng = np.random.default_rng(1)
    x = 0.019 + 0.001 * np.repeat(rng.standard_normal(12), 5)
    clusters = (np.repeat(np.arange(12), 5), np.arange(60))
    found = paired_test(x, clusters, name="H5a", question="?", estimand="e", draws=Draws(n_permutations=999))
    assert found.p is not None
    assert found.p <= 0.05
    assert found.verdict == "no relevant difference"
    nothing = paired_test(0 * x, clusters, name="H5a", question="?", estimand="e", margin=0.1)
    assert nothing.verdict != "holds"


@pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "the opposite holds")])
def test_a_proven_opposite_is_told(sign, verdict):
    """The same data mirrored: paired effects, and slopes asked above and below."""
    rng = np.random.default_rng(2)
    relation = np.repeat(np.arange(10), 8)
    clusters = (relation, np.arange(80))
    x = sign * (5 + 0.1 * rng.standard_normal(80))
    paired = paired_test(x, clusters, name="H8a", question="?", estimand="e", draws=Draws(n_permutations=999))
    assert paired.verdict == verdict
    k = rng.standard_normal(80)
    y = sign * 2 * k + 0.1 * rng.standard_normal(80)
    above = slope_test(y, {"k": k}, clusters, name="H10d", question="?", estimand="e", direction="above")
    below = slope_test(-y, {"k": k}, clusters, name="X", question="?", estimand="e", direction="below")
    assert above.verdict == below.verdict == verdict


def test_what_is_asked_and_its_opposite_err_in_alpha_together():
    """Where nothing is there, one side's p is uniform: both verdicts together; the same as a family of one."""
    tails = (np.arange(2_000) + 0.5) / 2_000
    tests = [replace(a_test("H5a", p=tail), p_opposite=min(1.0, 2 * (1 - tail))) for tail in tails]
    verdicts = [judged(test).verdict for test in tests]
    assert [verdicts.count(word) / 2_000 for word in ("holds", "the opposite holds")] == [0.045, 0.005]
    for place in (89, 90, 1_989, 1_990):
        assert correct([tests[place]], family="one")[0].verdict == verdicts[place]


def test_hypotheses_that_ask_for_more_do_not_hold_for_less():
    """H9 and H10a–c ask for more."""
    for name in ("H9", "H10a", "H10b", "H10c"):
        assert REGISTRY[name].direction == "more"
        assert judged(replace(a_test(name, -2.42), p=0.999, p_opposite=0.002)).verdict == "the opposite holds"


def test_too_few_clusters_are_told_from_undecided():
    """Six relations whose effects differ: no flip gives less than 2⁻⁶, which is enough for one test at 5%."""
    x = np.array([1.0, -1.0, 2.0, -2.0, 1.5, -1.4])
    each = np.arange(6)
    draws = Draws(n_permutations=999)
    one = paired_test(x, (each, each), name="H5a", question="?", estimand="e", draws=draws)
    assert (one.least_p, one.least_by, one.verdict) == (2**-6, "6 relations", "undecided")
    strict = replace(draws, alpha=0.01)  # then answers within relations are flipped: here, the same six
    found = paired_test(x, (each, each), name="H5a", question="?", estimand="e", draws=strict)
    assert (found.least_by, found.verdict) == ("6 answers within relations", "cannot be told")


@pytest.mark.parametrize("name", CONFIRMABLE)
def test_every_verdict_of_every_question_is_a_sentence_of_its_own(name):
    """What is undecided is not told as a fact; what holds is told in the direction that was found."""
    entry = REGISTRY[name]
    assert entry.claims is not None
    claims = entry.claims
    assert len({claims.more, claims.equal, claims.less}) == 3
    asked, opposite = (claims.less, claims.more) if entry.direction == "less" else (claims.more, claims.less)
    written = {}
    for verdict in VERDICTS:
        test = replace(a_test(name), verdict=verdict, least_p=2**-6, least_by="6 relations", detectable=0.4)
        written[verdict] = sentence_of(test)
    told = {verdict: text for verdict, text in written.items() if text}
    assert set(VERDICTS) - set(told) == {"descriptive"}
    assert len(set(told.values())) == len(told)
    for verdict, text in told.items():
        assert text.endswith(".")
        for claim in {claims.more, claims.equal, claims.less}:
            stated = text.lower().startswith(claim.lower()) or text.endswith(f": {claim}.")
            stated |= f"holds: {claim}" in text or f"difference: {claim}" in text
            expected = {
                "holds": asked,
                "the opposite holds": opposite,
                "no relevant difference": claims.equal,
            }
            assert stated == (expected.get(verdict) == claim)
    whether = f"{claims.more}, or {claims.less}" if entry.direction == "two-sided" else asked
    assert told["undecided"].startswith(
        f"It is undecided whether {whether} (0.30 [0.20, 0.40]; an effect of 0.4 would"
    )
    assert "6 relations allow no p below 0.0156" in told["cannot be told"]
    assert asked in told["not identified"]


def test_two_sided_questions_are_answered_with_the_side_that_was_found():
    test = replace(a_test("H9"), direction="two-sided", verdict="holds")
    assert REGISTRY["H9"].claims is not None
    assert sentence_of(replace(test, estimate=-0.3)).lower().startswith(REGISTRY["H9"].claims.less)
    assert sentence_of(test).lower().startswith(REGISTRY["H9"].claims.more)
    open_ = sentence_of(replace(test, verdict="undecided"))
    assert f"whether {REGISTRY['H9'].claims.more}, or {REGISTRY['H9'].claims.less}" in open_


def test_an_effect_that_may_be_too_small_to_matter_is_told_so():
    near = a_test("H5a", 0.15)
    assert sentence_of(replace(near, verdict="holds")).endswith(
        "(0.15 [0.05, 0.25]; whether by more than ±0.1 is open)."
    )
    assert sentence_of(replace(near, estimate=-0.3, verdict="the opposite holds")).endswith("is open).")
    assert sentence_of(replace(a_test("H5a", 0.3), verdict="holds")).endswith("(0.30 [0.20, 0.40]).")


@pytest.mark.parametrize("verdict", ["holds", "the opposite holds", "no relevant difference"])
def test_a_confirmatory_verdict_on_few_facts_or_relations_says_so(verdict):
    words = "resting on 9 facts of 6 relations only"
    few = replace(a_test("H5a"), verdict=verdict, role="confirmatory", n={"relations": 6, "facts": 9})
    assert few.basis() == words
    assert sentence_of(few).endswith(f"; {words}).")
    assert words in few.outcome()
    assert replace(few, n={"relations": 4, "facts": 90}).basis() == "resting on 90 facts of 4 relations only"
    enough = replace(few, n={"relations": 5, "facts": 10})
    for other in (enough, replace(few, role="exploratory"), replace(few, verdict="undecided")):
        assert other.basis() == ""


def test_an_answer_is_its_sentences_and_what_was_measured():
    assert answer_of([], "Measured.") == "Measured."
    assert answer_of([replace(a_test("H5a"), verdict="descriptive")], "Measured.") == "Measured."
    assert answer_of([replace(a_test("H5a"), verdict="holds")], "Measured.").endswith(
        "(0.30 [0.20, 0.40]). Measured."
    )
