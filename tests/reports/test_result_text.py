"""Results as text."""

from __future__ import annotations

import math
from dataclasses import replace

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
    rows = result_text.laid_out(table).rows
    assert rows == (("ig", "1,200", "0.5", "< 0.001", "yes"), ("–", "–", "–", "0.2", "–"))
    assert result_text.laid_out(TableBlock(name="t", title="", heads=(), columns=(), kinds=())).rows == ()


def test_counts_of_what_no_fact_can_tell(study):
    test = replace(study.tests()[0], n={"relations": 0, "facts": 0})
    assert result_text.counts(test) == "0 relations, 0 facts"
    assert result_text.counts(replace(test, estimate=math.nan)) == "no fact here can tell it"


def test_an_interval_stands_beside_its_estimate_with_the_digits_that_it_leaves():
    table = block(
        a_table(
            "t",
            x=("a", "b"),
            mean=(0.412345, 0.9),
            low=(0.3811, 0.88),
            high=(0.4422, 0.95),
            slope=(12.345, None),
            facts=(3, 4),
            slope_low=(-40.0, None),
            slope_high=(65.0, None),
        )
    )
    text = result_text.laid_out(table)
    assert text.heads == ("x", "mean", "slope", "facts")
    assert text.numeric == (False, True, True, True)
    assert text.rows == (
        ("a", "0.412 [0.381, 0.442]", "12 [−40, 65]", "3"),
        ("b", "0.900 [0.880, 0.950]", "–", "4"),
    )
