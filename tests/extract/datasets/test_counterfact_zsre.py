"""ROME's JSON files: a record's fact, its queries, and what is wrong with a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.facts import AnsweredQueries, Query

MASSIF: dict[str, Any] = {
    "case_id": 7,
    "pararel_idx": 1,
    "requested_rewrite": {
        "prompt": "{} is located in",
        "relation_id": "P30",
        "target_new": {"str": "Europe", "id": "Q46"},
        "target_true": {"str": "Antarctica", "id": "Q51"},
        "subject": "Vinson Massif",
    },
    "paraphrase_prompts": ["A list is given. Vinson Massif lies in", "He rests. It stands in"],
    "neighborhood_prompts": ["Mount Erebus is located in"],
    "generation_prompts": ["Vinson Massif stands tall "],
}
MOUNT = {
    **MASSIF,
    "case_id": 8,
    "requested_rewrite": {**MASSIF["requested_rewrite"], "subject": "Mount Erebus"},
    "paraphrase_prompts": ["A list is given. Mount Erebus lies in"],
}
HUMPHREY: dict[str, Any] = {
    "subject": "Watts Humphrey",
    "src": "What university did Watts Humphrey attend?",
    "pred": "Trinity College",
    "rephrase": "Which university did Watts Humphrey go to?",
    "alt": "University of Michigan",
    "answers": ["Illinois Institute of Technology"],
    "loc": "nq question: who played desmond doss father in hacksaw ridge",
    "loc_ans": "Hugo Weaving",
}


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_subject_that_is_a_part_of_its_own_mark_is_asked_by_its_name(tmp_path: Path) -> None:
    rewrite = {**MASSIF["requested_rewrite"], "subject": "X", "prompt": "The genre of {} is"}
    record = {**MASSIF, "requested_rewrite": rewrite, "paraphrase_prompts": ["X, an album, is"]}
    (fact,) = read_facts("counterfact:" + write(tmp_path / "cf.json", [record])).facts
    assert fact.queries == (
        Query(template="The genre of [X] is [Y]", text="The genre of X is [Y]"),
        Query(template="[X], an album, is [Y]", text="X, an album, is [Y]"),
    )


@pytest.mark.parametrize(
    ("paraphrase", "template"),
    [
        ("The Iranian press wrote of Iran, which is in", "The Iranian press wrote of [X], which is in [Y]"),
        ("The Iranian press is in", "The Iranian press is in [Y]"),
        ("In Iran's north lies", "In [X]'s north lies [Y]"),
        ("伊朗Iran位于", "伊朗[X]位于 [Y]"),  # scripts without spaces
    ],
)
def test_a_subject_within_a_longer_word_is_not_asked(tmp_path: Path, paraphrase: str, template: str) -> None:
    rewrite = {**MASSIF["requested_rewrite"], "subject": "Iran"}
    record = {**MASSIF, "requested_rewrite": rewrite, "paraphrase_prompts": [paraphrase]}
    (fact,) = read_facts("counterfact:" + write(tmp_path / "cf.json", [record])).facts
    assert fact.queries[1].template == template


def test_counterfact_asks_with_the_prompt_and_its_paraphrases(tmp_path: Path) -> None:
    found = read_facts("counterfact:" + write(tmp_path / "cf.json", [MASSIF, MOUNT]))
    one, two = found.facts
    assert (one.id, one.relation, one.subject, one.object) == ("7", "P30", "Vinson Massif", "Antarctica")
    assert one.attributes == {"target_new": "Europe"}
    assert one.entailed is not None
    assert one.entailed.neighborhood == (
        AnsweredQueries(
            answer="Antarctica",
            queries=(
                Query(template="Mount Erebus is located in [Y]", text="Mount Erebus is located in [Y]"),
            ),
        ),
    )
    assert one.entailed.generation == ("Vinson Massif stands tall",)
    assert one.queries == (
        Query(template="[X] is located in [Y]", text="Vinson Massif is located in [Y]"),
        Query(template="A list is given. [X] lies in [Y]", text="A list is given. Vinson Massif lies in [Y]"),
        Query(template="He rests. It stands in [Y]", text="He rests. It stands in [Y]"),
    )
    assert [query.template for query in two.queries] == [query.template for query in one.queries[:2]]


def test_counterfact_is_sampled_by_relation(tmp_path: Path) -> None:
    source = "counterfact:" + write(tmp_path / "cf.json", [MASSIF, MOUNT])
    assert len(read_facts(source, relations=("P30",), max_facts=1).facts) == 1
    with pytest.raises(InputError, match=re.escape("relation is 'P31'; expected one of P30.")):
        read_facts(source, relations=("P31",))


def test_zsre_asks_the_question_and_its_rephrasing(tmp_path: Path) -> None:
    both = {**HUMPHREY, "subject": "Ada", "src": "What university did Ada attend?", "rephrase": "Ada, where?"}
    found = read_facts("zsre:" + write(tmp_path / "z.json", [HUMPHREY, {**both, "answers": ["A", "B"]}]))
    assert [fact.id for fact in found.facts] == ["1", "2-1", "2-2"]
    first, second, third = found.facts
    assert first.relation == second.relation == "What university did [X] attend?"
    assert [query.text for query in first.queries] == [
        "What university did Watts Humphrey attend? [Y]",
        "Which university did Watts Humphrey go to? [Y]",
    ]
    assert first.attributes == {"target_new": "University of Michigan"}
    assert first.entailed is not None
    assert [(one.answer, one.queries[0].text) for one in first.entailed.neighborhood] == [
        ("Hugo Weaving", f"{HUMPHREY['loc']}? [Y]")
    ]
    assert second.objects == third.objects == ("A", "B")  # any of them is right


BAD: dict[str, tuple[str, object, str]] = {
    "no JSON": ("counterfact", "{", "file is"),
    "no list": ("zsre", HUMPHREY, "expected a list of records, [{…}, …]."),
    "nothing": ("zsre", [], "expected a list of records, [{…}, …]."),
    "a key missing": (
        "counterfact",
        [MASSIF, {"case_id": 8}],
        "record is 'without requested_rewrite'; expected as ROME's files have it. At {path}, record 2. Add it.",
    ),
    "another form": ("counterfact", [{"requested_rewrite": "x"}], "record is {'requested_rewrite': 'x'}"),
    "no record": ("zsre", [3], "record is 3; expected as ROME's files have it."),
    "no subject": ("zsre", [{**HUMPHREY, "subject": " "}], "subject is ''; expected text that is not empty."),
    "the other file": ("zsre", [MASSIF], "record is 'without subject'"),
}


@pytest.mark.parametrize(("reader", "content", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said(tmp_path: Path, reader: str, content: object, told: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(told.format(path=path) if "{path}" in told else told)):
        read_facts(f"{reader}:{path}")


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", [{}, HUMPHREY, {**HUMPHREY, "answers": [""]}])
    with pytest.raises(InputError) as raised:
        read_facts(f"zsre:{path}")
    assert [problem.partition(" is ")[0] for problem in raised.value.problems] == ["record", "object"]
