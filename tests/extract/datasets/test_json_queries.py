"""Texts and queries of an entry: what is sound is kept, and what is not is told with its place."""

from __future__ import annotations

import pytest

from qloc.extract.datasets.json_lines import Problems
from qloc.extract.datasets.json_queries import check_text, queries_of
from qloc.facts import Query


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("object", "Paris", None),
        ("text", " [Y] is far ", None),  # a prompt, which may have space at its ends
        ("object", "Paris ", "object is 'Paris '; expected text without space at its ends. At f. Remove the space."),
        ("template", "\tP36", "template is '\\tP36'; expected text without space at its ends. At f. Remove the space."),
        ("text", " \n", "text is ' \\n'; expected text that is not empty. At f. Fill it in."),
        ("object", None, "object is None; expected text. At f. Correct it."),
        ("object", ["Paris"], "object is ['Paris']; expected text. At f. Correct it."),
    ],
)  # fmt: skip
def test_a_text_is_usable_or_told(key: str, value: object, told: str | None) -> None:
    problems = Problems()
    assert check_text(key, value, "f", problems) is (told is None)
    assert problems.found == ([] if told is None else [told])


def test_queries_are_filled_with_the_subject() -> None:
    problems = Problems()
    entries = ["[X] and [X]: [Y]", {"template": "P36-2", "text": " in [X], [Y] "}, "no subject, [Y]"]
    assert queries_of(entries, "Peru", "f", problems) == (
        Query(template="[X] and [X]: [Y]", text="Peru and Peru: [Y]"),
        Query(template="P36-2", text=" in Peru, [Y] "),
        Query(template="no subject, [Y]", text="no subject, [Y]"),
    )
    assert problems.found == []


def test_sound_queries_are_kept_beside_broken_ones_and_each_is_told_by_its_number() -> None:
    problems = Problems()
    entries = [
        "[X] [Y] [Y]",
        "[X]: [Y]",
        {"template": " t", "text": 4},
        {"template": "t", "text": "[Y]", "more": 1},
        "",
    ]
    assert queries_of(entries, "Peru", "f, line 3", problems) == (
        Query(template="[X]: [Y]", text="Peru: [Y]"),
    )
    assert [problem.split("; expected ")[0] for problem in problems.found] == [
        "query is 'Peru [Y] [Y]'",
        "text is 4",
        "template is ' t'",
        "query is {'template': 't', 'text': '[Y]', 'more': 1}",
        "text is ''",
        "template is ''",
    ]
    assert [problem.split(" At ")[1].split(".")[0] for problem in problems.found] == [
        f"f, line 3, query {number}" for number in (1, 3, 3, 4, 5, 5)
    ]


def test_a_subject_with_the_answer_mark_leaves_more_than_one() -> None:
    problems = Problems()
    assert queries_of(["[X] [Y]"], "a[Y]", "f", problems) == ()
    assert problems.found == [
        "query is 'a[Y] [Y]'; expected exactly one [Y]. At f, query 1. Put it where the answer stands."
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, []),  # a missing key is told by who asks for it
        (
            [],
            ["queries is []; expected at least one query. At f. Add one, with [Y] where the answer stands."],
        ),
        ("[X] [Y]", ["queries is '[X] [Y]'; expected a list. At f. Write [ … ]."]),
        ({"text": "[Y]"}, ["queries is {'text': '[Y]'}; expected a list. At f. Write [ … ]."]),
    ],
)
def test_what_is_no_list_of_queries_gives_none(value: object, told: list[str]) -> None:
    problems = Problems()
    assert queries_of(value, "Peru", "f", problems) == ()
    assert problems.found == told
