"""Groups of minimal pairs: a paradigm and a feature is one fact, its sentences are its queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qloc.extract.datasets import read_facts
from qloc.extract.datasets.pair_groups import LONE, NOT_DRAWN, NOT_LABELLED, group_pairs
from qloc.facts import Fact, FactSet, Query, candidates
from qloc.plan import PairGroups, Plan

WriteLines = Callable[..., Path]


def pair(number: int, subject: str, good: str, feature: str, *, template: str = "") -> Fact:
    text = f"Sentence {number} is about {subject} [Y]."
    bad = good[:-1] if good.endswith("s") else f"{good}s"
    return Fact(
        id=str(number),
        relation="noun",
        subject=subject,
        object=good,
        bad=bad,
        feature=feature,
        kind="minimal_pair",
        queries=(Query(template=template or text, text=text),),
        objects=(good,),
        attributes={"noun": good.rstrip("s"), "list": "a"},
    )


PAIRS = (
    pair(0, "this", "book", "singular"),
    pair(1, "these", "books", "plural"),
    pair(2, "that", "cup", "singular"),
    pair(3, "these", "cups", "plural"),
    pair(4, "this", "book", "singular", template="s"),
    pair(5, "this", "lamp", "singular", template="s"),
    pair(6, "the", "sheep", ""),
)
FRANCE = Fact(id="f", relation="capital", subject="France", object="Paris", queries=(PAIRS[0].queries[0],))


def grouped(by: PairGroups, most: int = 20, pairs: tuple[Fact, ...] = PAIRS) -> FactSet:
    return group_pairs(FactSet(facts=pairs, source="mine"), by, most=most, seed=0)


def test_a_paradigm_and_a_feature_is_one_fact() -> None:
    found = grouped("feature", pairs=(*PAIRS[:3], FRANCE, *PAIRS[3:]))
    assert [(f.id, f.subject, f.object, f.feature) for f in found.facts] == [
        ("noun|singular", "singular", "singular", "singular"),
        ("noun|plural", "plural", "plural", "plural"),
        ("f", "France", "Paris", ""),
    ]
    singular, plural = found.facts[:2]
    assert [(q.good, q.bad) for q in plural.queries] == [("books", "book"), ("cups", "cup")]
    assert [q.template for q in singular.queries][-2:] == ["s", "s#2"]  # a template is a fact's once
    assert (singular.attributes, plural.kind, plural.bad) == ({"list": "a"}, "minimal_pair", None)
    assert found.skipped == {NOT_LABELLED: 1}
    query = plural.queries[0]
    assert (plural.answer_of(query), plural.bad_of(query), FRANCE.bad_of(query)) == ("books", "book", "book")
    assert candidates([plural])["noun"] == ("book", "books", "cup", "cups")


def test_smaller_groups_are_of_cues_or_items() -> None:
    by_cue, by_item = grouped("cue"), grouped("item")
    assert [(f.id, len(f.queries)) for f in by_cue.facts] == [
        ("noun|singular|this", 3),
        ("noun|plural|these", 2),
    ]
    assert [(f.id, len(f.queries)) for f in by_item.facts] == [("noun|singular|this book", 2)]
    assert (by_cue.skipped[LONE], by_item.skipped[LONE]) == (1, 4)
    assert grouped("single").facts == PAIRS


def test_sentences_are_drawn_and_a_paradigm_without_features_is_one_group() -> None:
    bare = tuple(replace(one, feature="") for one in PAIRS)
    (whole,) = grouped("feature", pairs=bare).facts
    assert (whole.id, whole.object, len(whole.queries)) == ("noun", "noun", len(PAIRS))
    few = grouped("feature", most=2)
    assert [len(fact.queries) for fact in few.facts] == [2, 2]
    assert few.skipped[NOT_DRAWN] == 2
    assert few.digest() == grouped("feature", most=2).digest() != grouped("feature").digest()


def _line(fact: Fact) -> dict[str, object]:
    names = ("id", "kind", "relation", "subject", "bad", "feature")
    of_fact = {name: getattr(fact, name) for name in names}
    return {**of_fact, "good": fact.object, "queries": [fact.queries[0].text]}


def test_reading_groups_where_it_is_asked_to(tmp_path: Path, write_lines: WriteLines) -> None:
    lines = [_line(fact) for fact in PAIRS]
    path = str(write_lines(tmp_path / "p.jsonl", *lines))
    assert len(read_facts(path).facts) == len(PAIRS)
    assert [f.id for f in read_facts(path, pairs="feature", max_facts=1).facts] in (
        ["noun|singular"],
        ["noun|plural"],
    )


@pytest.mark.parametrize(
    ("facts", "pairs", "expected"),
    [("blimp:x", None, "feature"), ("blimp:x", "single", "single"), ("f.jsonl", None, "single")],
)
def test_blimp_is_grouped_unless_told_otherwise(facts: str, pairs: PairGroups | None, expected: str) -> None:
    assert Plan(facts=facts, pairs=pairs).pair_groups() == expected
