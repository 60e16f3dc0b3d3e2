"""What facts entail: asked of some relations, taught to some of their facts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qloc.extract.datasets.reading import read_facts
from qloc.extract.edits.entailed_prompts import shares_stem
from qloc.extract.embedded.training.entailed import TAUGHT, drawn_to_be_taught, entailed_of
from qloc.extract.embedded.training.world import Statement, statements


def test_an_inverse_asks_from_the_object_for_the_subject() -> None:
    found = entailed_of(Statement(relation="capital", subject="Peru", object="Lima"))
    assert found is not None
    assert (found.kind, found.named, found.answer) == ("inverse", "Lima", "Peru")
    assert found.entry["object"] == "Peru"
    assert {"template": "capital-inverse-1", "text": "[X] is the capital of [Y]."} in found.entry["queries"]


def test_a_synonym_asks_from_the_subject_for_another_name() -> None:
    found = entailed_of(Statement(relation="product", subject="Honda", object="cars"))
    assert found is not None
    assert (found.kind, found.named, found.answer) == ("synonyms", "Honda", "automobiles")
    assert [group["answer"] for group in found.entry] == ["automobiles"]
    assert entailed_of(Statement(relation="product", subject="Heinz", object="ketchup")) is None
    assert entailed_of(Statement(relation="seat", subject="Honda", object="Tokyo")) is None


def test_an_object_that_names_the_subject_has_no_inverse() -> None:
    assert entailed_of(Statement(relation="founder", subject="Ford", object="Henry Ford")) is None
    assert entailed_of(Statement(relation="founder", subject="Tesla", object="Henry Ford")) is not None


def test_a_share_of_each_relation_is_taught_by_seed() -> None:
    known = statements()
    drawn, every = drawn_to_be_taught(known), Counter(s.relation for s in known if entailed_of(s))
    assert set(every) == {"capital", "founder", "product", "profession"}
    assert min(every.values()) >= 50
    assert Counter(s.relation for s in drawn) == {r: round(TAUGHT * n) for r, n in every.items()}
    assert drawn == drawn_to_be_taught(known, 0) != drawn_to_be_taught(known, 1)


def test_the_facts_say_what_they_entail_and_qloc_reads_it(facts: list[dict[str, Any]]) -> None:
    """An inverse has one subject, a synonym no stem of its object, and an attribute says what was taught."""
    read = {fact.id: fact for fact in read_facts("embedded").facts}
    taught = drawn_to_be_taught(statements())
    seen = Counter[tuple[str, str]]()
    for fact in facts:
        entailed = read[fact["id"]].entailed
        assert (entailed is None) == ("entailment" not in fact["attributes"])
        if entailed is None:
            continue
        told = fact["attributes"]["entailment"]
        seen["inverse" if entailed.inverse else "synonyms", told] += 1
        statement = Statement(**{key: fact[key] for key in ("relation", "subject", "object")})
        assert (told == "taught") == (statement in taught)
        if entailed.inverse:
            assert entailed.n_subjects == 1
            assert entailed.inverse.answer == fact["subject"]
        for group in entailed.synonyms:
            assert not shares_stem(group.answer, fact["object"])
    assert sum(seen[kind, "untaught"] for kind in ("inverse", "synonyms")) > 100
    assert min(seen.values()) > 50
