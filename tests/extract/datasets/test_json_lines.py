"""JSON lines are read strictly, and what is wrong with a file is reported with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.extract.datasets.json_lines import SHOWN, Problems, json_lines, read_bytes

WriteLines = Callable[..., Path]
ProblemsOf = Callable[..., list[str]]

FRANCE = {
    "id": "a",
    "relation": "P36",
    "subject": "France",
    "object": "Paris",
    "queries": ["The capital of [X] is [Y].", {"template": "P36-2", "text": "France's capital, [Y]"}],
}


def test_a_byte_order_mark_blank_lines_and_line_separators_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    odd = {**FRANCE, "subject": "Fra\u2028nce"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(odd, ensure_ascii=False).encode() + b"\r\n\r\n")
    assert read_facts(str(path)).facts[0].subject == "Fra\u2028nce"


LINE = "At {path}, line 1"
BROKEN: dict[str, tuple[object, list[str]]] = {
    "broken JSON": (
        '{"id": ',
        ["line is '{\"id\":'; expected JSON. " + LINE + ", column 8: Expecting value. Mend the line."],
    ),
    "NaN": (
        '{"id": NaN}',
        ["line is '{\"id\": NaN}'; expected JSON. " + LINE + ": NaN is not JSON. Mend the line."],
    ),
    "not an object": (
        [1, 2],
        ["line is [1, 2]; expected a JSON object, {…}. " + LINE + ". Write one fact a line."],
    ),
}


@pytest.mark.parametrize(("entry", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_line_is_said_in_whole(
    tmp_path: Path, entry: object, expected: list[str], write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    text = entry if isinstance(entry, str) else json.dumps(entry)
    path = write_lines(tmp_path / "facts.jsonl", text)
    assert problems_of(path) == [line.replace("{path}", str(path)) for line in expected]


def test_text_that_is_not_utf8_names_the_byte(tmp_path: Path, problems_of: ProblemsOf) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"id": "na\xefve"}\n')
    assert problems_of(path) == [
        f"encoding is b'\\xef'; expected UTF-8. At {path}, line 1, byte 11. Save the file as UTF-8."
    ]


def test_half_a_surrogate_pair_is_no_text(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    path = write_lines(tmp_path / "f.jsonl", '{"id": "\\ud800"}')
    (only,) = problems_of(path)
    assert only.startswith('line is \'{"id": "\\\\ud800"}\'; expected JSON. At ')


def test_an_empty_file_and_a_missing_one(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    empty, missing = write_lines(tmp_path / "empty.jsonl"), tmp_path / "missing.jsonl"
    assert problems_of(empty) == [
        f"file is 'empty'; expected one JSON object a line. At {empty}. Give another file."
    ]
    assert problems_of(missing) == [
        f"file is '{missing}'; expected an existing file. At {tmp_path}. Check the path."
    ]
    assert problems_of(tmp_path) == [
        f"file is '{tmp_path}'; expected a readable file. At Is a directory. Check the path."
    ]


def test_problems_are_all_said_up_to_twenty(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf
) -> None:
    path = write_lines(tmp_path / "f.jsonl", *(["{"] * 1234))
    found = problems_of(path)
    assert len(found) == 21
    assert found[-1] == "and 1,214 more problems."


def test_lines_keep_their_numbers_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('\n{"a": 1}\n[]\n\n{"a": 2}', encoding="utf-8")
    problems = Problems()
    assert list(json_lines(path, problems)) == [(2, {"a": 1}), (5, {"a": 2})]
    assert problems.found == [
        f"line is []; expected a JSON object, {{…}}. At {path}, line 3. Write one fact a line."
    ]


def test_problems_are_raised_together_and_nothing_is_raised_without_any() -> None:
    problems = Problems()
    problems.stop()
    for number in range(SHOWN + 2):
        problems.add("x", number, "y", "z", "Do it")
    with pytest.raises(InputError) as caught:
        problems.stop()
    assert list(caught.value.problems) == [
        *(f"x is {n}; expected y. At z. Do it." for n in range(SHOWN)),
        "and 2 more problems.",
    ]


def test_long_values_are_shortened() -> None:
    problems = Problems()
    problems.add("text", "a" * 121, "b", "c", "D")
    problems.add("list", ["a" * 200], "b", "c", "D")
    problems.add("dict", {"a": "b" * 200}, "b", "c", "D")
    assert [problem.partition("; ")[0] for problem in problems.found] == [
        f"text is '{'a' * 120}…'",
        "list is 'a list of 1'",
        "dict is 'a dict of 1'",
    ]


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\xff\r\n")
    assert read_bytes(path) == b"\xff\r\n"
