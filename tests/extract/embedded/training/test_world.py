"""General knowledge: statements that are true once, and templates."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qloc.extract.embedded.training.world import (
    Statement,
    inverse_templates,
    statements,
    synonyms,
    templates,
)


def test_facts_are_the_world(facts: list[dict[str, Any]]) -> None:
    told = Counter((s.relation, s.subject, s.object) for s in statements())
    asked_for = Counter((f["relation"], f["subject"], f["object"]) for f in facts if "object" in f)
    assert asked_for == told
    assert max(told.values()) == 1
    assert len(told) >= 900
    assert len({f["relation"] for f in facts if "object" in f}) == 9
    assert not [s for s in statements() if s.object.casefold() in s.subject.casefold()]


def test_statements_are_named_by_their_tables() -> None:
    known = statements()
    assert known[0] == Statement(relation="capital", subject="France", object="Paris")
    assert all(s.subject.strip() and s.object.strip() for s in known)
    assert list(dict.fromkeys(s.relation for s in known)) == list(templates())


def test_templates_are_eight_a_relation_with_ids_in_order() -> None:
    for relation, texts in templates().items():
        assert list(texts) == [f"{relation}-{n}" for n in range(1, 9)]


def test_inverses_are_of_relations_with_one_subject_an_object() -> None:
    for relation, texts in inverse_templates().items():
        assert list(texts) == [f"{relation}-inverse-{n}" for n in range(1, 4)]
        subjects = Counter(s.object for s in statements() if s.relation == relation)
        assert max(subjects.values()) == 1


def test_synonyms_are_of_objects_of_their_relation_and_no_two_objects_share_one() -> None:
    for relation, other in synonyms().items():
        objects = {s.object for s in statements() if s.relation == relation}
        assert list(other.templates) == [f"{relation}-synonym-{n}" for n in range(1, 4)]
        assert set(other.answers) < objects
        assert len(set(other.answers.values())) == len(other.answers)
        assert not objects & set(other.answers.values())


def test_no_template_is_written_twice() -> None:
    texts = [t for relation in templates().values() for t in relation.values()]
    texts += [t for relation in inverse_templates().values() for t in relation.values()]
    texts += [t for other in synonyms().values() for t in other.templates.values()]
    assert len(texts) == len(set(texts)) == 84
    for text in texts:
        assert text.count("[X]") == text.count("[Y]") == 1
        assert text.rstrip(".").endswith("[Y]")  # a causal model reads all of it before it answers
