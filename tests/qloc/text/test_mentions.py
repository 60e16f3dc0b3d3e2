"""Mentions of names: whole words, and what stands within words only where there are none."""

from __future__ import annotations

import pytest

from qloc.text.mentions import mentions, renamed


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("Niger borders Nigeria; Niger's rivers", "Niger", ["Niger", "Niger"]),
        ("the Nigerians of Nigeria", "Niger", ["Niger", "Niger"]),
        ("C++ is not C.", "C++", ["C++"]),
        ("St. Louis (St. Louis)", "St. Louis", ["St. Louis", "St. Louis"]),
        ("rome", "Rome", []),
    ],
)
def test_mentions_are_of_the_name(text: str, name: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in mentions(text, name)] == expected


def test_a_name_is_put_in_as_it_stands() -> None:
    assert renamed("Niger borders Nigeria", "Niger", r"\1[X]") == r"\1[X] borders Nigeria"
    assert renamed("the Nigerians of Nigeria", "Niger", "X") == "the Xians of Xia"
    assert renamed("rome", "Rome", "[X]") == "rome"
    assert renamed("aa", "a", "aa") == "aaaa"
