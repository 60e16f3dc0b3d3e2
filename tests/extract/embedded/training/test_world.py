"""General knowledge: statements that are true once, and templates."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qloc.extract.embedded.training.world import Statement, statements, templates


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
