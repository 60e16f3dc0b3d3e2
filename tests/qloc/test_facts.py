"""Facts and queries, before any tokenizer has seen them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.facts import AnsweredQueries, Entailments, Fact, FactSet, Query, candidates, entailment_counts, fill

FRANCE = Fact(
    id="a",
    relation="P36",
    subject="France",
    object="Paris",
    queries=(Query(template="1", text="The capital of France is [Y]."),),
    objects=("Paris",),
    attributes={"count": 51},
)


def test_a_query_has_a_head_and_a_tail() -> None:
    (query,) = FRANCE.queries
    assert (query.head, query.tail) == ("The capital of France is ", ".")


@given(st.text(), st.text())
def test_filling_leaves_no_subject_mark_behind(text: str, subject: str) -> None:
    if "[X]" not in subject and "[" not in text + subject and "]" not in text + subject:
        assert fill(f"{text}[X]{text}", subject) == f"{text}{subject}{text}"


@pytest.mark.parametrize(
    ("subject", "answer", "leaks"),
    [("Paris Hilton", "paris", True), ("Nokia Lumia", "Nokia", True), ("France", "Paris", False)],
)
def test_an_answer_in_its_subject_leaks(subject: str, answer: str, leaks: bool) -> None:
    assert replace(FRANCE, subject=subject, object=answer).leaks is leaks


def test_a_pair_never_leaks() -> None:
    pair = replace(FRANCE, kind="minimal_pair", subject="books", object="book", bad="books")
    assert not pair.leaks


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"},
        {"relation": "P37"},
        {"subject": "Peru"},
        {"object": "Lima"},
        {"queries": ()},
        {"kind": "minimal_pair"},
        {"bad": "Rome"},
        {"feature": "singular"},
        {"objects": ("Paris", "Lyon")},
        {"attributes": {"count": 52}},
        {"cue_in_prefix": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_sees_everything_of_a_fact(change: dict[str, object]) -> None:
    changed = replace(FRANCE, **change)  # type: ignore[arg-type]
    assert FactSet(facts=(changed,), source="").digest() != FactSet(facts=(FRANCE,), source="").digest()


def test_the_digest_sees_no_path() -> None:
    here = FactSet(facts=(FRANCE,), source="/here", merged=1, skipped={"x": 1})
    assert here.digest() == FactSet(facts=(FRANCE,), source="/there").digest()


def test_what_edits_entail_is_counted_by_fact() -> None:
    asked = AnsweredQueries(answer="France", queries=FRANCE.queries)
    both = replace(FRANCE, entailed=Entailments(inverse=asked, synonyms=(asked, asked)))
    assert entailment_counts([FRANCE]) == {}
    inverse = replace(FRANCE, entailed=Entailments(inverse=asked))
    assert entailment_counts([FRANCE, both, inverse]) == {"an inverse": 2, "synonyms": 1}


def test_relations_and_candidates_are_in_order() -> None:
    facts = [
        replace(FRANCE, relation=relation, object=answer)
        for relation, answer in [("b", "z"), ("a", "y"), ("b", "x"), ("b", "x"), ("b", "a")]
    ]
    assert FactSet(facts=tuple(facts), source="").relations() == ["b", "a"]
    assert candidates(facts) == {"b": ("x", "a", "z"), "a": ("y",)}
