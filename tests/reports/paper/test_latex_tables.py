"""Tables of papers: eight columns at most, all of them somewhere, and all rows in CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from qloc.reports.document import TableBlock
from qloc.reports.paper.latex_tables import LINE, MOST_COLUMNS, csv_table, latex_table


def a_table(n_rows=3, **columns):
    columns = {"test": tuple(f"t{n}" for n in range(n_rows)), **columns}
    kinds: tuple[Any, ...] = tuple(
        "text" if isinstance(cells[0], str) else "number" for cells in columns.values()
    )
    return TableBlock(
        name="t", title="All", heads=tuple(columns), columns=tuple(columns.values()), kinds=kinds,
        keys=tuple(columns), note="A note.",
    )  # fmt: skip


def rows(text: str) -> list[list[str]]:
    """Cells of every line of a table but headings."""
    bodies = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL)
    return [line.removesuffix(r" \\").split(" & ") for body in bodies for line in body.strip().splitlines()]


def test_an_interval_stands_beside_its_estimate():
    table = a_table(2, ki=(0.88123, 0.5), ki_low=(0.4812, 0.41), ki_high=(0.9912, 0.61))
    assert rows(latex_table(table, "a")) == [
        ["t0", r"\mbox{0.88 {[}0.48, 0.99{]}}"],
        ["t1", r"\mbox{0.50 {[}0.41, 0.61{]}}"],
    ]


def test_more_than_eight_columns_stand_below_each_other_with_their_names():
    numbers = {f"c{n}": tuple(100.0 * n + row for row in range(3)) for n in range(12)}
    text = latex_table(a_table(**numbers), "a")
    shown = rows(text)
    assert text.count(r"\begin{table}") == 2
    assert max(map(len, shown)) <= MOST_COLUMNS
    assert [row[0] for row in shown] == ["t0", "t1", "t2"] * 2
    cells = {cell for row in shown for cell in row[1:]}
    assert cells == {rf"\mbox{{{100 * n + row:,}}}" for n in range(12) for row in range(3)}
    for form in re.findall(r"\\begin\{tabular\}(.*)", text):
        assert sum(map(float, re.findall(r"p\{([\d.]+)\\linewidth\}", form))) * LINE < LINE


def test_of_too_many_columns_those_of_one_value_are_told_below():
    columns = {f"c{n}": tuple(float(n == 3 or row) for row in range(3)) for n in range(8)}
    text = latex_table(a_table(**columns), "a")
    assert "The same in all rows: c3: 1.}" in text
    assert text.count(r"\begin{table}") == 1


def test_rows_beyond_a_page_are_in_the_csv_file_and_the_note_says_so():
    table = a_table(300, value=tuple(n / 7 for n in range(300)))
    text = latex_table(table, "a")
    assert 40 < len(rows(text)) < 60
    assert f"The first {len(rows(text))} of 300 rows; a.csv has all." in text
    assert len(rows(latex_table(table, "a", whole=True))) == 300
    read = list(csv.DictReader(io.StringIO(csv_table(table))))
    assert [float(row["value"]) for row in read] == [n / 7 for n in range(300)]


def test_no_rows_are_a_comment():
    assert (
        latex_table(TableBlock(name="t", title="", heads=(), columns=(), kinds=()), "a") == "% a: no rows.\n"
    )
