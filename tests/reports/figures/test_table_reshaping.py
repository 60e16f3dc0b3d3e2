"""Tables made ready to be drawn: columns joined, rows put aside."""

import math

from qloc.analysis.results import Table
from qloc.reports.figures.table_reshaping import by_rule, drawable, where


def a_table(**columns) -> Table:
    return Table(name="t", title="t", columns=columns)


def test_rows_with_nothing_to_draw_are_put_aside():
    table = a_table(name=("a", "b", "c"), x=(1.0, None, math.nan), y=(None, 2.0, None))
    assert drawable(table, ["x", "y"]).columns == {"name": ("a", "b"), "x": (1.0, None), "y": (None, 2.0)}


def test_rows_are_chosen_by_how_a_column_reads():
    table = a_table(k0=(2, 3, 2), value=(0.1, 0.2, 0.3))
    assert where(table, "k0", "2").columns == {"k0": (2, 2), "value": (0.1, 0.3)}


def test_a_rule_and_its_score_make_one_panel_each():
    columns = {
        "score": ("cs2", "cs2"),
        "rule": ("static", "otsu"),
        "score_threshold": (0.1, 0.4),
        "k0": (3, None),
    }
    table = by_rule(a_table(**columns))
    assert table.columns["panel"] == ("CS2 < 0.1", "CS2 by Otsu")
    assert table.columns["counted"] == ("in 3 queries", "as published")


def test_a_table_without_rules_stays_as_it_is():
    table = a_table(kappa=(0.1,))
    assert by_rule(table) == table
