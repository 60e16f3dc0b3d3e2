"""Which table is drawn, and how."""

from __future__ import annotations

import pytest

from qloc.analysis.results import Table
from qloc.reports.figures.from_table import figure as drawn
from qloc.reports.figures.table_recipes import recipe_of


def a_table(name: str, **columns) -> Table:
    return Table(name=name, title=name, columns=columns)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("heatmap_most_consistent", "heatmap"), ("completeness_by_layer", "profile"), ("heatmaps", None)],
)
def test_recipes_go_by_the_longest_name_that_begins_a_table(name, kind):
    found = recipe_of(a_table(name))
    assert (found and found.kind) == kind


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (
            a_table("own", arm=("a", "b"), value=(1.0, 2.0), value_low=(0.5, 1.5), value_high=(1.5, 2.5)),
            "dots",
        ),
        (a_table("own", budget=(1, 2), mean=(1.0, 2.0), low=(0.5, 1.5), high=(1.5, 2.5)), "lines"),
        (a_table("own", arm=("a", "b"), value=(1.0, 2.0)), None),
        (
            a_table("own", arm=("a", "a"), kind=("x", "y"), mean=(1.0, 2.0), low=(0.5, 1.5), high=(1.5, 2.5)),
            None,
        ),
        (a_table("layer_profile", layer=(0, 1), share=(0.5, 0.5)), "profile"),
    ],
)
def test_unknown_tables_with_intervals_are_drawn(table, kind):
    figure = drawn(table, "f")
    assert (figure and figure.kind) == kind
