"""Facts tallied: what is counted is what the facts and their queries say."""

import csv

from qloc.extract.signals.facts_check import Checked
from qloc.facts import Fact, Query
from qloc.workflows.check_facts import COLUMNS, FactsCheck


def a_fact(name: str, relation: str, n_queries: int, subject: str = "France", answer: str = "Paris") -> Fact:
    queries = tuple(Query(template=str(n), text=f"{subject} {n} [Y]") for n in range(n_queries))
    return Fact(
        id=name, relation=relation, subject=subject, object=answer, queries=queries, objects=(answer,)
    )


CHECKED = (
    Checked(fact=a_fact("a", "capital", 4), n_askable=4, n_known=3),
    Checked(fact=a_fact("b", "capital", 3), n_askable=2, n_known=2),
    Checked(fact=a_fact("c", "maker", 2, "Nokia Lumia", "Nokia"), n_askable=2, n_known=2),
)
COUNTS = FactsCheck(
    facts=CHECKED, relations=("capital", "maker"), excluded={"too long": 1}, merged=2, skipped={}
)


def test_queries_and_facts_are_counted():
    assert (COUNTS.n_queries, COUNTS.n_askable, COUNTS.n_known, COUNTS.n_leaking) == (9, 8, 7, 1)
    assert COUNTS.left == {0: 1, 2: 1, 3: 1}


def test_each_relation_is_counted_by_itself():
    assert COUNTS.by_relation() == [
        {"relation": "capital", "facts": 2, "leaking": 0, "queries": 7, "askable": 6, "known": 5, "k ≥ 2": 2, "k ≥ 3": 1},
        {"relation": "maker", "facts": 1, "leaking": 1, "queries": 2, "askable": 2, "known": 2, "k ≥ 2": 0, "k ≥ 3": 0},
    ]  # fmt: skip


def test_a_table_has_a_line_for_each_fact(tmp_path):
    COUNTS.write_csv(tmp_path / "facts.csv")
    with (tmp_path / "facts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        list(COLUMNS),
        ["a", "capital", "France", "Paris", "4", "4", "3", "0", "3"],
        ["b", "capital", "France", "Paris", "3", "2", "2", "0", "2"],
        ["c", "maker", "Nokia Lumia", "Nokia", "2", "2", "2", "1", "0"],
    ]
