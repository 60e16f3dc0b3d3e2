"""No fact of a control is true, and objects are asked for as often as before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qloc.extract.datasets.permuted_facts import NO_OTHER, PAIRS, permuted_facts
from qloc.extract.datasets.reading import read_facts
from qloc.facts import AnsweredQueries, Entailments, Fact, FactSet, Query

ASKED = (Query(template="t", text="s is [Y]"),)


def _facts(objects: list[str], relation: str = "r") -> list[Fact]:
    return [
        Fact(
            id=f"{relation}{n}", relation=relation, subject=f"s{n}", object=one, objects=(one,), queries=ASKED
        )
        for n, one in enumerate(objects)
    ]


def _permuted(facts: list[Fact], seed: int = 0) -> FactSet:
    return permuted_facts(FactSet(facts=tuple(facts), source="f"), source="permuted:f", seed=seed)


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=30), st.integers(0, 5))
def test_none_is_true_and_all_are_kept_where_no_object_has_more_than_half(
    objects: list[str], seed: int
) -> None:
    found = _permuted(_facts(objects), seed)
    own = {f"r{n}": one for n, one in enumerate(objects)}
    assert all(fact.object != own[fact.id] for fact in found.facts)
    if 2 * max(Counter(objects).values()) <= len(objects):
        assert Counter(fact.object for fact in found.facts) == Counter(objects)
        assert found.skipped == {}
    assert len(found) + found.skipped.get(NO_OTHER, 0) == len(objects)


def test_relations_are_permuted_apart_and_prompts_stay() -> None:
    facts = [*_facts(["a", "b", "c"]), *_facts(["x", "y"], "q")]
    found = _permuted(facts)
    assert [fact.id for fact in found.facts] == [fact.id for fact in facts]
    assert {fact.object for fact in found.facts if fact.relation == "q"} == {"x", "y"}
    assert all(fact.queries == ASKED and fact.objects == (fact.object,) for fact in found.facts)
    assert found.source == "permuted:f"


def test_what_is_right_for_the_subject_too_is_left_out() -> None:
    one, two = _facts(["a", "b"])
    both = Fact(id="r0", relation="r", subject="s0", object="a", objects=("a", "b"), queries=ASKED)
    found = _permuted([both, two])
    assert [(fact.id, fact.object) for fact in found.facts] == [("r1", "a")]
    assert found.skipped == {NO_OTHER: 1}
    assert one.id == both.id


def test_pairs_are_left_out_and_what_true_facts_entail_is_dropped() -> None:
    entailed = Entailments(inverse=AnsweredQueries(answer="s0", queries=ASKED))
    first, second = _facts(["a", "b"])
    pair = Fact(id="p", relation="n", subject="x", object="is", bad="are", kind="minimal_pair", queries=ASKED)
    true = Fact(**{**vars(first), "entailed": entailed})
    found = _permuted([true, pair, second])
    assert [fact.entailed for fact in found.facts] == [None, None]
    assert found.skipped == {PAIRS: 1}


def test_one_object_leaves_nothing() -> None:
    assert _permuted(_facts(["a", "a"])).skipped == {NO_OTHER: 2}


def test_the_prefix_is_read_before_any_source(tmp_path: Path, write_lines: Callable[..., Path]) -> None:
    lines = [
        {"id": s, "relation": "P36", "subject": s, "object": o, "queries": ["The capital of [X] is [Y]."]}
        for s, o in (("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Kenya", "Nairobi"))
    ]
    path = write_lines(tmp_path / "facts.jsonl", *lines)
    true = {fact.id: fact.object for fact in read_facts(str(path)).facts}
    control = read_facts(f"permuted:{path}")
    assert control.source == f"permuted:{path}"
    assert sorted(fact.object for fact in control.facts) == sorted(true.values())
    assert all(fact.object != true[fact.id] for fact in control.facts)
    assert [fact.object for fact in read_facts(f"permuted:{path}").facts] == [f.object for f in control.facts]
    some = {tuple(f.object for f in read_facts(f"permuted:{path}", seed=seed).facts) for seed in range(8)}
    assert len(some) > 1
