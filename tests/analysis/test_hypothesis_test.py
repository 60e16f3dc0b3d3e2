"""A test in words: what stands beside each verdict, and estimates with the ends of their intervals."""

from dataclasses import replace

import pytest

from qloc.analysis.hypothesis_test import THESE_RELATIONS, Interval, TestResult, estimate_words

TEST = TestResult(
    name="H5a", question="?", estimand="log-odds lost", unit="fact", n={"relations": 6, "facts": 1200},
    estimate=0.41234, effect=None, method="m", p=0.04, p_adjusted=0.08, role="exploratory",
    interval=Interval(low=0.01, high=0.8149, confidence=0.95, method="t"),
)  # fmt: skip


def test_sizes_are_told_in_their_number():
    sized = replace(TEST, n={"relations": 1, "queries": 1, "strata": 1, "facts": 2, "consistent": 1})
    assert sized.sizes() == "1 relation, 1 query, 1 stratum, 2 facts, 1 consistent"


def test_a_sentence_has_estimate_interval_sizes_p_and_verdict():
    assert replace(TEST, verdict="undecided", detectable=0.5).sentence() == (
        "H5a: log-odds lost is 0.41 (95% interval 0.01 to 0.81) over 6 relations, 1,200 facts; p = 0.04, "
        "adjusted p = 0.08. ? Undecided: an effect of 0.5 would be found 4 times of 5."
    )


def test_what_nothing_can_tell_has_no_sizes():
    empty = replace(
        TEST, n={"relations": 0, "facts": 0}, estimate=float("nan"), interval=None, p=None, p_adjusted=None,
        verdict="descriptive",
    )  # fmt: skip
    assert empty.sentence() == (
        "H5a: log-odds lost is not available, since no fact here can tell it. · Descriptive."
    )


def test_p_stands_with_the_least_it_could_be_and_with_what_it_speaks_for():
    told = replace(TEST, p_adjusted=None, least_p=1 / 64, target=THESE_RELATIONS).sentence()
    assert "; p = 0.04 (least possible: 0.0156), for these relations and templates. " in told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"verdict": "holds"}, ""),
        ({"verdict": "the opposite holds", "p_opposite": 0.02, "p_opposite_adjusted": 0.03}, "p of the opposite = 0.03"),
        (
            {"verdict": "cannot be told", "least_p": 1 / 64, "least_p_adjusted": 4 / 64, "least_by": "6 relations"},
            "6 relations allow no p below 0.0156, 0.0625 after correction",
        ),
        (
            {"verdict": "no relevant difference", "margin": 0.1, "margin_unit": "log-odds", "p_equivalence": 0.01},
            "within ±0.1 log-odds, p = 0.01",
        ),
    ],
)  # fmt: skip
def test_what_a_verdict_needs_stands_beside_it(changes, why):
    assert replace(TEST, **changes).why() == why


def test_estimates_without_ends_stand_alone():
    assert estimate_words(TEST) == "0.41 [0.01, 0.81]"
    assert estimate_words(replace(TEST, interval=None)) == "0.412"
    assert estimate_words(replace(TEST, estimate=float("nan"))) == ""


def test_a_table_of_one_row_is_flat():
    frame = TEST.to_frame()
    assert len(frame) == 1
    assert (frame["interval_low"][0], frame["n_facts"][0]) == (0.01, 1200)
