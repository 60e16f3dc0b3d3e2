"""Results as text."""

from __future__ import annotations

import math

from qloc.analysis.results import Table
from qloc.reports import result_text
from qloc.reports.build import block
from qloc.reports.document import TableBlock


def a_table(name: str, **columns) -> Table:
    return Table(name=name, title=name, columns=columns)


def test_columns_are_written_by_what_they_hold():
    table = block(
        a_table(
            "t", method=("ig", None), n=(1200, None), value=(0.5, math.nan), p=(0.00001, 0.2), ok=(True, None)
        )
    )
    assert table.kinds == ("text", "count", "number", "p", "text")
    assert result_text.rows(table) == [("ig", "1,200", "0.5", "< 0.001", "yes"), ("–", "–", "–", "0.2", "–")]
    assert result_text.rows(TableBlock(name="t", title="", heads=(), columns=(), kinds=())) == []
