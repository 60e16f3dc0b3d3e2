"""Tables as plain text."""

from __future__ import annotations

from qloc.text_tables import table


def test_numbers_align() -> None:
    lines = table(["a", "b"], [["x", 1], ["yy", 1000]]).splitlines()
    assert lines == ["  a       b", "  x       1", "  yy  1,000"]
