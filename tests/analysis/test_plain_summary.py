"""The summary: few sentences, of the right tests, with estimate, interval, n and verdict."""

from dataclasses import replace

from qloc.analysis.hypothesis_test import Interval, TestResult
from qloc.analysis.plain_summary import N_TOLD, plain_summary
from qloc.analysis.results import Question, Table
from qloc.analysis.verdicts import judged
from qloc.hypothesis_registry import ACCOUNTS, REGISTRY, hypothesis_of

OVERALL = Table(
    name="consistency_overall", title="",
    columns={
        "queries": ("known", "known", "all"), "score": ("dice", "kappa", "dice"), "mean": (0.3928, 0.31, 0.9),
        "low": (0.2412, 0.12, None), "high": (0.5444, 0.51, None), "facts": (19, 19, 25),
    },
)  # fmt: skip
RELATIONS = Table(
    name="consistency_by_relation", title="",
    columns={"relation": ("a", "b", "c"), "facts": (10, 9, 0), "d0": (0.1, 0.2, None)},
)  # fmt: skip


def a_test(name: str, p: float, **changes) -> TestResult:
    test = TestResult(
        name=name, question="?", estimand="e", unit="fact", n={"relations": 4, "facts": 19}, estimate=0.25,
        interval=Interval(low=0.05, high=0.45, confidence=0.95, method="t"), effect=None, method="", p=p,
        role="exploratory",
    )  # fmt: skip
    return judged(replace(test, **changes))


def question(id: str, *tests: TestResult, tables=()) -> Question:
    return Question(id=id, title="?", answer="", tests=tests, tables=tables)


def test_the_first_sentence_says_how_much_paraphrases_and_other_facts_share():
    first = plain_summary([question("consistency", tables=(OVERALL, RELATIONS))])[0]
    assert first == (
        "Paraphrases of a fact share 39% (24–54) of their knowledge neurons, different facts of a relation 15%; "
        "beyond chance κ is 0.31 [0.12, 0.51], where 0 is chance and 1 the same every time (19 facts of 2 relations)."
    )  # (10 · 0.1 + 9 · 0.2) / 19 = 14.7%


def test_paradigms_of_minimal_pairs_are_no_relations_of_facts():
    kinds = {"relation": ("a", "b", "c"), "kind": ("fact", "minimal_pair", "fact")}
    counts = Table(name="counts_by_relation", title="", columns=kinds)
    first = plain_summary([question("consistency", tables=(OVERALL, RELATIONS, counts))])[0]
    assert "different facts of a relation 10%" in first
    assert first.endswith("(19 facts of 1 relation).")


def test_tests_of_the_plan_come_first_one_of_a_question():
    planned = a_test("H10a", 0.5, role="confirmatory")
    told = plain_summary(
        [
            question("overlap", a_test("H1a", 0.01), a_test("H1b", 0.01)),
            question("behaviour", a_test("H10b", 0.01), planned),
            question("interventions", a_test("H5a", 0.5)),
            question("edits", a_test("H7a", 0.01)),
        ]
    )
    assert len(told) == N_TOLD + 1
    assert [sentence.rpartition("(")[2] for sentence in told[:-1]] == [
        "H1a: holds, exploratory).", "H10a: undecided, confirmatory).", "H7a: holds, exploratory).",
    ]  # fmt: skip
    assert "(0.25 [0.05, 0.45]); 4 relations, 19 facts (H1a" in told[0]


def test_predictions_of_the_accounts_are_counted_by_what_was_seen():
    equal = a_test("H5", 0.9, p_equivalence=0.01, margin=0.1)
    last = plain_summary([question("q", a_test("H1a", 0.01), a_test("H1b", 0.5), equal)])[-1]
    assert "by Knowledge Localization (" in last
    assert "3 effects, 2 seen, 1 open; by Query Localization (" in last
    assert "1 effect, 1 contradicted; by Shared words (" in last
    assert last.endswith("1 effect, 1 open.")


def test_every_prediction_is_of_an_account_and_a_claim():
    for entry in REGISTRY.values():
        assert set(entry.predicted) <= set(ACCOUNTS)
        assert entry.claims or not entry.predicted
    assert hypothesis_of("beyond_answer").predicted["Shared words"] == "equal"


def test_nothing_is_told_of_nothing():
    assert plain_summary([]) == ()
