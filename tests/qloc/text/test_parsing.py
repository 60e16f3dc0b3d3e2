"""JSON and YAML of anybody: values that are plain, and a ValueError for all else, at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.text.parsing import DEEPEST, json_of, yaml_of

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(PLAIN)
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    text = json.dumps(value)
    assert json_of(text) == json_of(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 200_000, "it nests more than 100 deep"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "it nests more than 100 deep"),
        ('{"a":' * 200_000, "it nests more than 100 deep"),
        ("9" * 5_000, "it has a whole number of more than 64 bits"),
        ("NaN", "NaN is not JSON"),
        (r'"\ud800"', "'utf-8' codec can't encode character '\\ud800' in position 1: surrogates not allowed"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"),
        ('{"a" 1}', "Expecting ':' delimiter: line 1 column 6 (char 5)"),
    ],
)
def test_other_json_is_refused(content: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (its words are compared)
        json_of(content)
    assert str(caught.value) == reason


def test_json_may_nest_as_deeply_as_is_said() -> None:
    assert json.dumps(json_of("[" * DEEPEST + "]" * DEEPEST)) == "[" * DEEPEST + "]" * DEEPEST


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000, "it nests more than 100 deep"),
        ("- " * 20_000 + "x", "it nests more than 100 deep"),
        (LAUGHS, "it gives more than 100,000 values"),
        ("a: &a {b: *a}", "it nests more than 100 deep"),
        ("9" * 5_000, "Exceeds the limit (4300 digits) for integer string conversion"),
        ("9" * 4_000, "it has a whole number of more than 64 bits"),
        ("2026-02-31", "day is out of range for month"),
        ("!!int x", "invalid literal for int() with base 10"),
        ("!!bool x", "a value cannot be made ('x')"),
        ("? [1]\n: 2", "while constructing a mapping in"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor for the tag"),
        ("a: [", "while parsing a flow node"),
    ],
)
def test_yaml_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (its words are compared)
        yaml_of(text)
    assert str(caught.value).startswith(reason)


def test_yaml_is_read_with_its_aliases() -> None:
    assert yaml_of("a: &x [1, 0.5]\nb: *x\nc: 2026-02-28") | {"c": 0} == {
        "a": [1, 0.5],
        "b": [1, 0.5],
        "c": 0,
    }
