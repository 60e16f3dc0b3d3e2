"""Facts and minimal pairs are read as they are written, and everything wrong with an entry is reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.facts import Fact, Query
from qloc.vocabulary import FACT_COLUMNS

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


def test_a_fact_is_read_as_it_is_written(tmp_path: Path, write_lines: WriteLines) -> None:
    path = write_lines(
        tmp_path / "facts.jsonl", {**FRANCE, "attributes": {"count": 51, "share": 0.5, "class": "wide"}}
    )
    found = read_facts(str(path))
    assert found.source == str(path)
    assert (found.merged, found.skipped) == (0, {})
    assert found.facts == (
        Fact(
            id="a",
            relation="P36",
            subject="France",
            object="Paris",
            queries=(
                Query(template="The capital of [X] is [Y].", text="The capital of France is [Y]."),
                Query(template="P36-2", text="France's capital, [Y]"),
            ),
            objects=("Paris",),
            attributes={"count": 51, "share": 0.5, "class": "wide"},
        ),
    )


def test_a_minimal_pair_is_one_fact_with_one_query(tmp_path: Path, write_lines: WriteLines) -> None:
    unlabelled = {**{k: v for k, v in PAIR.items() if k != "feature"}, "id": "q", "queries": ["[Y] burn."]}
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", PAIR, unlabelled))).facts
    assert found[0] == Fact(
        id="p",
        relation="agreement",
        subject="this",
        object="book",
        bad="books",
        kind="minimal_pair",
        feature="singular",
        objects=("book",),
        queries=(Query(template="I like this [Y] most.", text="I like this [Y] most."),),
    )
    assert (found[1].feature, found[1].cue_in_prefix) == ("", False)  # nothing stands before the answer


def test_a_minimal_pair_needs_no_subject(tmp_path: Path, write_lines: WriteLines) -> None:
    bare = {key: value for key, value in PAIR.items() if key != "subject"}
    other = {**bare, "id": "q", "queries": ["I sell this [Y]."]}
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", bare, other)))
    assert [fact.subject for fact in found.facts] == ["book", "book"]  # the good form; not merged


def test_a_pair_without_a_subject_cannot_be_asked_by_it(tmp_path: Path, write_lines: WriteLines) -> None:
    bare = {**{key: value for key, value in PAIR.items() if key != "subject"}, "queries": ["[X] [Y] most."]}
    path = write_lines(tmp_path / "f.jsonl", bare)
    told = f"key is 'subject missing'; expected one where [X] stands for it. At {path}, line 1. Add it."
    with pytest.raises(InputError, match=re.escape(told)):
        read_facts(str(path))


def test_attributes_have_one_type(tmp_path: Path, write_lines: WriteLines) -> None:
    path = write_lines(
        tmp_path / "f.jsonl",
        {**FRANCE, "attributes": {"count": 1, "share": 1, "name": "x"}},
        {**FRANCE, "id": "b", "object": "Lyon", "attributes": {"share": 0.5}},
        {**FRANCE, "id": "c", "object": "Nice"},
    )
    one, two, three = (fact.attributes for fact in read_facts(str(path)).facts)
    assert one == {"count": 1, "share": 1.0, "name": "x"}
    assert isinstance(one["share"], float)
    assert two == {"share": 0.5}  # what is missing is filled in where columns are made
    assert three == {}


LINE = "At {path}, line 1"
WRONG: dict[str, tuple[object, list[str]]] = {
    "unknown key": (
        {**FRANCE, "answer": "Paris"},
        [
            "key is 'answer'; expected one of id, relation, subject, object, queries, kind, attributes, inverse, synonyms, neighborhood, generation. "
            + LINE
            + ". Remove it, or put it into attributes."
        ],
    ),
    "missing keys": (
        {"id": "a", "subject": "s"},
        [
            f"key is '{key} missing'; expected all of id, relation, subject, object, queries. "
            + LINE
            + ". Add it."
            for key in ("relation", "object", "queries")
        ],
    ),
    "unknown kind": (
        {**FRANCE, "kind": "rumour"},
        ["kind is 'rumour'; expected fact or minimal_pair. " + LINE + ". Correct it."],
    ),
    "wrong types": (
        {**FRANCE, "id": 7, "queries": "[Y]", "attributes": []},
        [
            "id is 7; expected text. " + LINE + ". Correct it.",
            "queries is '[Y]'; expected a list. " + LINE + ". Write [ … ].",
            "attributes is []; expected an object, {…}. " + LINE + ". Correct it.",
        ],
    ),
    "empty texts": (
        {**FRANCE, "subject": " ", "object": ""},
        [
            "subject is ' '; expected text that is not empty. " + LINE + ". Fill it in.",
            "object is ''; expected text that is not empty. " + LINE + ". Fill it in.",
        ],
    ),
    "space at the end": (
        {**FRANCE, "object": "Paris "},
        ["object is 'Paris '; expected text without space at its ends. " + LINE + ". Remove the space."],
    ),
    "no queries": (
        {**FRANCE, "queries": []},
        [
            "queries is []; expected at least one query. "
            + LINE
            + ". Add one, with [Y] where the answer stands."
        ],
    ),
    "no [Y]": (
        {**FRANCE, "queries": ["The capital of [X]"]},
        [
            "query is 'The capital of France'; expected exactly one [Y]. "
            + LINE
            + ", query 1. Put it where the answer stands."
        ],
    ),
    "two [Y]": (
        {**FRANCE, "queries": ["[X]: [Y]", "[Y] or [Y]"]},
        [
            "query is '[Y] or [Y]'; expected exactly one [Y]. "
            + LINE
            + ", query 2. Put it where the answer stands."
        ],
    ),
    "a query of another form": (
        {**FRANCE, "queries": [3, {"text": "[Y]"}]},
        [
            f'query is {got}; expected text, or {{"template": …, "text": …}}. '
            + LINE
            + f", query {n}. Correct it."
            for n, got in ((1, "3"), (2, "{'text': '[Y]'}"))
        ],
    ),
    "a pair with two queries": (
        {**PAIR, "queries": ["a [Y]", "b [Y]"]},
        [
            "queries is ['a [Y]', 'b [Y]']; expected one query for a minimal pair. "
            + LINE
            + ". Make each a pair."
        ],
    ),
    "attributes": (
        {**FRANCE, "attributes": {"leaks": 1, "in order": 2, "sure": True, "far": 1e999}},
        [
            f"attribute is '{name}'; expected a name of letters, digits and _, none of fact, feature, "
            "first_query, id, kind, leaks, n_objects, n_queries, object, relation, subject. "
            + LINE
            + ". Rename it."
            for name in ("leaks", "in order")
        ]
        + ["attribute is True; expected text or a number. " + LINE + ", attribute sure. Correct it."],
    ),
}


@pytest.mark.parametrize(("entry", "expected"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_whole(
    tmp_path: Path, entry: object, expected: list[str], write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    text = entry if isinstance(entry, str) else json.dumps(entry).replace("Infinity", "1")
    path = write_lines(tmp_path / "facts.jsonl", text)
    assert problems_of(path) == [line.replace("{path}", str(path)) for line in expected]


def test_a_number_that_overflows_is_refused(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    text = json.dumps({**FRANCE, "attributes": {"n": 2**53 + 1, "m": -(2**53)}})
    path = write_lines(
        tmp_path / "f.jsonl", text, json.dumps({**FRANCE, "id": "b"})[:-1] + ', "attributes": {"x": 1e999}}'
    )
    assert problems_of(path) == [
        f"attribute is {2**53 + 1}; expected at most 2⁵³ in size, up to which a column of numbers holds every integer. "
        f"At {path}, line 1, attribute n. Write it as text, with a letter before it.",
        f"attribute is inf; expected a number that 64 bits hold. At {path}, line 2, attribute x. Correct it.",
    ]


def test_a_subject_that_no_query_names_is_refused(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    """One query that names it, in any case of letters, is enough."""
    queries = ["The capital is [Y].", "FRANCE: [Y]"]
    path = write_lines(
        tmp_path / "f.jsonl", {**FRANCE, "queries": queries[:1]}, {**FRANCE, "id": "b", "queries": queries}
    )
    assert problems_of(path) == [
        f"subject is 'France'; expected one that a query names, or [X] in its place. At {path}, line 1. Write it as the "
        "queries do."
    ]


def test_an_attribute_is_not_called_as_a_score(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    """Formulas would read one of both; log_count is another column where there is a count."""
    attributes = {"k": 1, "log_kappa": 2, "log_count": 3, "count": 4, "log_size": 5}
    path = write_lines(tmp_path / "f.jsonl", {**FRANCE, "attributes": attributes})
    names = ", ".join(FACT_COLUMNS)
    assert problems_of(path) == [
        f"attribute is '{name}'; expected none of {names}, nor log_ of these or of another attribute. At {path}, line "
        "1. Rename it."
        for name in ("k", "log_kappa", "log_count")
    ]


def test_mixed_attributes_are_refused(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    one, two = {**FRANCE, "attributes": {"n": 1}}, {**FRANCE, "id": "b", "attributes": {"n": "many"}}
    path = write_lines(tmp_path / "f.jsonl", one, two)
    assert problems_of(path) == [
        f"attribute is 'many'; expected a number, as at {path}, line 1. At {path}, line 2, attribute n. "
        "Use one type."
    ]


def test_duplicate_ids_name_both_lines(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    path = write_lines(tmp_path / "f.jsonl", FRANCE, {**FRANCE, "object": "Lyon"})
    assert problems_of(path) == [
        f"id is 'a'; expected one that {path}, line 1 does not have. At {path}, line 2. Make ids unique."
    ]
