"""What is taught, by class of fact, and what is held out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from qloc.extract.embedded import facts_path, held_out_path
from qloc.extract.embedded.training.corpus import (
    EVERYDAY,
    Lesson,
    Sentence,
    fact_lines,
    fill,
    held_out_sentences,
    lessons,
    training_sentences,
)
from qloc.extract.embedded.training.entailed import entailed_of
from qloc.extract.embedded.training.world import Statement, statements


def test_facts_file_is_what_the_corpus_makes(facts: list[dict[str, Any]]) -> None:
    assert facts_path().read_text(encoding="utf-8").splitlines() == list(fact_lines(lessons()))
    assert len({f["id"] for f in facts}) == len(facts)


def test_classes_say_what_was_taught() -> None:
    taught = {c: [x for x in lessons() if x.fact_class == c] for c in ("wide", "narrow", "conflict")}
    assert {len(x.seen) for x in taught["wide"]} == {7}
    assert {len(x.seen) for x in taught["narrow"]} == {1}
    assert {(len(x.seen), len(x.taught), len(set(x.taught.values()))) for x in taught["conflict"]} == {
        (4, 8, 2)
    }
    # Which half is right differs between facts: the template alone must not tell.
    capitals = {x.seen for x in taught["conflict"] if x.statement.relation == "capital"}
    assert len(capitals) > 10
    assert min(map(len, taught.values())) > 150


def test_held_out_text_was_not_trained_on() -> None:
    held_out = held_out_path().read_text(encoding="utf-8").splitlines()
    assert held_out == held_out_sentences(lessons())
    assert len(held_out) == len(set(held_out)) == 300
    assert not set(held_out) & {s.text for s in training_sentences(lessons())}


def test_a_filled_template_knows_its_answer() -> None:
    sentence = fill("[Y], [X]'s capital", "Peru", "Lima")
    assert sentence == Sentence(text="Lima, Peru's capital", start=0, stop=4)


def test_lessons_are_drawn_by_seed_in_the_order_of_the_world() -> None:
    first, again, other = lessons(), lessons(0), lessons(1)
    assert first == again != other
    assert [lesson.statement for lesson in other] == statements()


def test_a_narrow_fact_is_repeated_and_a_template_that_teaches_nothing_is_left_out() -> None:
    statement = Statement(relation="capital", subject="Peru", object="Lima")
    wide = Lesson(statement=statement, fact_class="wide", taught={"capital-2": "Lima", "capital-3": "Quito"})
    narrow = Lesson(statement=statement, fact_class="narrow", taught={"capital-1": "Lima"})
    assert wide.seen == ("capital-2",)
    everyday = len(training_sentences([]))
    (second, third), once = training_sentences([wide])[:2], training_sentences([narrow])
    assert [s.text[s.start : s.stop] for s in (second, third)] == ["Lima", "Quito"]
    assert len(once) == everyday + 3
    assert {s.text for s in once[:3]} == {"The capital of Peru is Lima."}


def test_what_a_fact_entails_is_taught_or_is_not() -> None:
    statement = Statement(relation="capital", subject="Peru", object="Lima")
    silent = Lesson(
        statement=statement, fact_class="wide", taught={"capital-1": "Lima"}, entailed=entailed_of(statement)
    )
    told = replace(silent, teaches_entailed=True)
    once, more = training_sentences([silent]), training_sentences([told])
    assert len(once) == EVERYDAY + 1
    added = [s for s in more if s.text not in {sentence.text for sentence in once}]
    assert len(added) == len(more) - len(once) == 3
    assert {s.text[s.start : s.stop] for s in added} == {"Peru"}
    assert all("Lima" in s.text[: s.start] for s in added)
    lines = [json.loads(line) for line in fact_lines([silent, told])][:2]
    assert [line["attributes"]["entailment"] for line in lines] == ["untaught", "taught"]
    assert lines[0]["inverse"] == lines[1]["inverse"]


def test_a_modest_share_of_the_text_is_of_what_facts_entail() -> None:
    taught = [lesson for lesson in lessons() if lesson.teaches_entailed and lesson.entailed]
    n = sum(len(lesson.entailed.templates) for lesson in taught if lesson.entailed)
    assert 0.05 < n / len(training_sentences(lessons())) < 0.1
