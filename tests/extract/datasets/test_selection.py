"""Duplicates are merged, right answers gathered, and a sample is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.extract.datasets.selection import merge, require_relations, sample, select, with_objects
from qloc.facts import Fact, Query

WriteLines = Callable[..., Path]
ProblemsOf = Callable[..., list[str]]

FRANCE = {
    "id": "a",
    "relation": "P36",
    "subject": "France",
    "object": "Paris",
    "queries": ["The capital of [X] is [Y].", {"template": "P36-2", "text": "France's capital, [Y]"}],
}
PAIR = {
    "id": "p",
    "kind": "minimal_pair",
    "relation": "agreement",
    "subject": "this",
    "good": "book",
    "bad": "books",
    "feature": "singular",
    "queries": ["I like this [Y] most."],
}


def test_duplicates_are_merged_and_their_queries_united(tmp_path: Path, write_lines: WriteLines) -> None:
    again = {
        **FRANCE,
        "id": "b",
        "queries": ["The capital of [X] is [Y].", "[X]: [Y]"],
        "attributes": {"n": 1},
    }
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", FRANCE, again)))
    assert found.merged == 1
    assert [fact.id for fact in found.facts] == ["a"]
    assert [query.text for query in found.facts[0].queries] == [
        "The capital of France is [Y].",
        "France's capital, [Y]",
        "France: [Y]",
    ]
    assert found.facts[0].attributes["n"] == 1


def test_a_prompt_that_repeats_in_a_fact_is_asked_once(tmp_path: Path, write_lines: WriteLines) -> None:
    twice = {**FRANCE, "queries": ["[X]: [Y]", {"template": "t", "text": "France: [Y]"}]}
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", twice)))
    assert len(found.facts[0].queries) == 1
    assert found.skipped == {"query with the prompt of another of its fact": 1}


def test_pairs_with_the_same_words_stay_apart(tmp_path: Path, write_lines: WriteLines) -> None:
    other = {**PAIR, "id": "q", "queries": ["They sell this [Y]."]}
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", PAIR, other, {**PAIR, "id": "r"})))
    assert [fact.id for fact in found.facts] == ["p", "q"]
    assert found.merged == 1


def test_every_right_object_is_known_to_every_fact(tmp_path: Path, write_lines: WriteLines) -> None:
    second = {**FRANCE, "id": "b", "object": "Lyon"}
    other = {**FRANCE, "id": "c", "subject": "Peru", "object": "Lima"}
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", FRANCE, other, second)))
    assert [fact.objects for fact in found.facts] == [("Paris", "Lyon"), ("Lima",), ("Paris", "Lyon")]


def facts(**sizes: int) -> list[Fact]:
    return [
        Fact(id=f"{r}{n}", relation=r, subject=f"s{n}", object="o", queries=())
        for r, k in sizes.items()
        for n in range(k)
    ]


def test_a_sample_keeps_order_and_does_not_depend_on_other_relations() -> None:
    alone = sample(facts(a=50), 7, seed=3)
    among = sample(facts(b=9, a=50, c=3), 7, seed=3)
    assert [fact.id for fact in alone] == [fact.id for fact in among if fact.relation == "a"]
    assert [int(fact.id[1:]) for fact in alone] == sorted(int(fact.id[1:]) for fact in alone)
    assert [sum(fact.relation == r for fact in among) for r in "bac"] == [7, 7, 3]
    assert alone != sample(facts(a=50), 7, seed=4)


def test_a_sample_is_the_same_on_every_machine() -> None:
    assert [fact.id for fact in sample(facts(P36=1000), 4, seed=0)] == [
        "P36166",
        "P36444",
        "P36714",
        "P36898",
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("op")), max_size=30))
def test_merging_is_idempotent_and_loses_no_triple(triples: list[tuple[str, str, str]]) -> None:
    given_facts = [
        Fact(id=str(n), relation=r, subject=s, object=o, queries=(Query(template=str(n), text=f"{n} [Y]"),))
        for n, (r, s, o) in enumerate(triples)
    ]
    merged, repeated = merge(given_facts)
    assert [(f.relation, f.subject, f.object) for f in merged] == list(dict.fromkeys(triples))
    assert sum(len(fact.queries) for fact in merged) == len(triples)
    assert repeated == 0
    assert merge(merged) == (merged, 0)


def test_unknown_relations_are_refused(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    path = write_lines(tmp_path / "f.jsonl", FRANCE)
    assert problems_of(path, relations=("P36", "P37", "P39")) == [
        f"relation is '{name}'; expected one of P36. At facts {path}. Correct --relations."
        for name in ("P37", "P39")
    ]


def test_many_relations_are_shown_in_part() -> None:
    with pytest.raises(InputError) as caught:
        require_relations(["x"], [f"P{n}" for n in range(23)], "here")
    shown = ", ".join(f"P{n}" for n in range(20))
    assert str(caught.value) == (
        f"relation is 'x'; expected one of {shown} and 3 more. At facts here. Correct --relations."
    )


def test_right_answers_are_gathered_before_the_sample() -> None:
    right = [
        Fact(id=name, relation="r", subject="s", object=name, queries=(Query(template="t", text="[Y]"),))
        for name in "abc"
    ]
    drawn = select(right, source="here", skipped={"reason": 2}, max_facts=1)
    assert [fact.objects for fact in drawn.facts] == [("a", "b", "c")]
    assert (drawn.source, drawn.skipped, drawn.merged) == ("here", {"reason": 2}, 0)


def test_the_right_answer_of_a_pair_is_its_good_form() -> None:
    query = Query(template="t", text="[Y]")
    pair = Fact(id="p", relation="r", subject="s", object="o", bad="x", kind="minimal_pair", queries=(query,))
    fact = Fact(id="f", relation="r", subject="s", object="q", queries=(query,))
    assert [each.objects for each in with_objects([pair, fact])] == [("o",), ("q",)]


def test_merging_completes_attributes_by_the_first_that_has_them() -> None:
    query = Query(template="t", text="[Y]")
    facts = [
        Fact(id=id, relation="r", subject="s", object="o", queries=(query,), attributes=attributes)
        for id, attributes in (("a", {"x": 1}), ("b", {"x": 2, "y": 3}), ("c", {"y": 4, "z": 5}))
    ]
    ((merged,), repeated) = merge(facts)
    assert (merged.id, merged.attributes, repeated) == ("a", {"x": 1, "y": 3, "z": 5}, 0)
