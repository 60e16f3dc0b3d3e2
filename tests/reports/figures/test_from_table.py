"""Tables drawn by their recipes."""

from __future__ import annotations

import pytest

from qloc.analysis.results import Table
from qloc.reports.build import build
from qloc.reports.document import Figure
from qloc.reports.figures.from_table import figure as drawn
from qloc.reports.figures.from_table import figures
from qloc.reports.figures.marks import mark_of
from qloc.reports.figures.palette import N_SERIES
from qloc.reports.figures.svg import svg


def a_table(name: str, **columns) -> Table:
    return Table(name=name, title=name, columns=columns)


def test_figure_keeps_full_precision_and_intervals(study):
    figure = build([study]).parts[0].sections[0].figures[0]
    table = study.questions[0].tables[0]
    assert figure.series[0].y == table.columns["kappa"]
    assert figure.series[0].low == table.columns["kappa_low"]
    assert [one.name for one in figure.series] == ["κ, other answers", "κ, same answer"]
    assert figure.series[1].low == ()


def test_rows_go_from_the_highest_down_with_absent_ones_last():
    columns = {"kappa": (0.1, None, 0.7), "kappa_same_answer": (0.0, 0.2, 0.1)}
    figure = drawn(a_table("consistency_by_relation", relation=("a", "b", "c"), **columns), "f")
    assert figure is not None
    assert figure.series[0].x == ("c", "a", "b")
    assert figure.series[0].y == (0.7, 0.1, None)


def test_long_tables_give_a_series_for_each_value():
    table = a_table(
        "layer_profile", layer=(0, 1, 0, 1), group=("a", "a", "b", "b"), share=(0.1, 0.2, 0.3, 0.4)
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert [(one.name, one.x, one.y) for one in figure.series] == [
        ("a", (0, 1), (0.1, 0.2)),
        ("b", (0, 1), (0.3, 0.4)),
    ]


def test_thresholds_make_a_panel_for_each_rule(study):
    figure = next(figure for figure in build([study]).figures if figure.source == "ki_by_threshold")
    assert [panel.title for panel in figure.panels] == ["CS2 < 0.1", "CS2 by Otsu"]
    assert [one.name for one in figure.panels[0].series] == ["as published", "in 3 queries"]
    assert [one.name for one in figure.panels[1].series if one.x] == ["as published"]
    assert figure.panels[0].series[0].low.count(None) == 9


def two_panels(**shares) -> Figure:
    """Small charts of two operations, each of two sets."""
    sets, operations = ("own", "union") * 2, ("erase", "erase", "update", "update")
    figure = drawn(a_table("edit_entailments", operation=operations, set=sets, **shares), "f")
    assert figure is not None
    return figure


FOUR, FIRST, LAST = (0.1, 0.2, 0.3, 0.4), (0.7, 0.8, None, None), (None, None, 0.5, 0.6)


def test_a_colour_is_one_thing_in_all_panels():
    """A panel that lacks the second of three values has it, empty: the third keeps its place and its colour."""
    figure = two_panels(reliability=FOUR, symmetry=LAST, neighborhood=FOUR)
    first, second = ([(one.name, len(one.x)) for one in panel.series] for panel in figure.panels)
    assert [name for name, _ in first] == [name for name, _ in second]
    assert [n for _, n in first] == [2, 0, 2]
    assert "nothing to draw" not in figure.alt
    colours = [mark_of(panel, 2) for panel in figure.panels]
    assert colours[0] == colours[1]


def test_panels_that_each_lack_a_series_have_those_of_all():
    figure = two_panels(reliability=FOUR, symmetry=LAST, neighborhood=FIRST)
    assert len({tuple(one.name for one in panel.series) for panel in figure.panels}) == 1
    assert [sum(len(one.x) > 0 for one in panel.series) for panel in figure.panels] == [2, 2]
    assert len(figure.panels[0].series) == 3


@pytest.mark.parametrize(("more", "caption"), [(1, ""), (8, "12 of 15 panels are drawn; the table has all.")])
def test_a_panel_of_more_series_than_colours_is_panels_itself(more, caption):
    """Erasing entails some kinds more than there are colours, updating one."""
    kinds = [f"kind {n}" for n in range(N_SERIES + more) for _ in range(2)]
    n = len(kinds)
    table = a_table(
        "edit_entailment_moves",
        operation=("erase",) * n + ("update",) * 2,
        set=("own", "union") * (n // 2 + 1),
        entailed=(*kinds, "kind 0", "kind 0"),
        difference=tuple(float(k) for k in range(n + 2)),
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert {panel.kind for panel in figure.panels} == {"dots"}
    assert len(figure.panels) == min(12, N_SERIES + more + 1)
    assert figure.caption == caption
    assert figure.panels[1].title == "erase: kind 1"
    assert len({panel.limits for panel in figure.panels}) == 1
    assert svg(figure).startswith("<svg")


def test_measures_of_many_choices_have_equal_shares_of_the_panels():
    """Of 4 measures × 8 choices, three each are drawn, each measure on a scale of its own."""
    choices, measures = 8, ("kappa", "ki", "beyond_template", "beyond_answer")
    columns = {name: tuple(10.0**m * (k + 1) for k in range(2 * choices)) for m, name in enumerate(measures)}
    table = a_table(
        "multiverse",
        choice=tuple(f"c{n}" for n in range(choices) for _ in range(2)),
        threshold=(0.1, 0.2) * choices,
        **columns,
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert len(figure.panels) == 12
    assert [panel.title.split(": ")[1] for panel in figure.panels] == ["c0", "c1", "c2"] * 4
    assert figure.caption == "12 of 32 panels are drawn; the table has all."
    limits = [panel.limits for panel in figure.panels]
    assert [len(set(limits[n : n + 3])) for n in range(0, 12, 3)] == [1] * 4
    assert limits[0] != limits[6]


def test_heatmaps_tick_members(study):
    figure = next(figure for figure in build([study]).figures if figure.source == "heatmap_typical")
    row = figure.series[3]
    assert row.name == "Paraphrase 3 of France is"
    assert row.ticked == tuple(3 * n % 11 > 2 for n in range(10))


def test_rarefaction_shows_ratio_and_scores_apart(study):
    figure = next(figure for figure in build([study]).figures if figure.source == "rarefaction")
    assert [(panel.title, panel.axis, panel.limits) for panel in figure.panels] == [
        ("Inconsistent facts", "share", (0.0, 1.0)),
        ("Mean scores", "number", None),
    ]


def test_more_series_than_colours_become_panels():
    kinds = tuple(f"kind {n}" for n in range(N_SERIES + 8) for _ in range(2))
    table = a_table("layer_profile", group=kinds, layer=(0, 1) * 14, share=(0.1, 0.3) * 14)
    figure = drawn(table, "f")
    assert figure is not None
    assert (figure.kind, len(figure.panels)) == ("multiples", 12)
    assert figure.caption == "12 of 14 panels are drawn; the table has all."


def test_rows_and_panels_that_are_not_drawn_are_told():
    names = tuple(f"r{n:02}" for n in range(67))
    table = a_table(
        "consistency_by_relation", relation=(*names, "pair"), kappa=(*(n / 67 for n in range(67)), None)
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert figure.series[0].x == names[:6:-1]
    assert figure.caption == "The 60 highest of 67 rows are drawn; the table has all."
    table = a_table(
        "good_over_bad",
        paradigm=tuple(f"p{n}" for n in range(14) for _ in range(2))[1:],
        feature=("singular", "plural") * 13 + ("singular",),
        share=(0.5,) * 27,
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert [panel.title for panel in figure.panels] == [f"p{n}" for n in range(1, 13)]  # p0 is one row
    assert figure.caption == "12 of 14 panels are drawn; the table has all."


def test_the_curve_of_specifications_has_its_lower_end():
    thresholds = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
    choices = tuple(f"{method}, {which}" for method in "abcdef" for which in ("known", "all"))
    rows = [(choice, t) for choice in choices for t in thresholds]
    kappa = tuple(n / 100 for n in range(len(rows)))
    table = a_table(
        "multiverse",
        choice=tuple(choice for choice, _ in rows),
        threshold=tuple(t for _, t in rows),
        kappa=kappa,
        kappa_low=kappa,
        kappa_high=kappa,
    )
    figure = drawn(table, "f", "specification_curve")
    assert figure is not None
    assert figure.series[0].y == kappa[::-1]
    assert figure.caption == ""


def test_rows_with_nothing_to_draw_are_left_to_the_table():
    table = a_table("consistency_by_relation", relation=("a", "pair", "b"), kappa=(0.1, None, 0.2))
    figure = drawn(table, "f")
    assert figure is not None
    assert figure.series[0].x == ("b", "a")


def test_panels_share_one_scale(study):
    figure = next(figure for figure in build([study]).figures if figure.source == "by_attribute")
    assert [panel.limits for panel in figure.panels] == [(0.1, 0.7)] * 2


def test_nothing_to_draw_is_no_figure(void):
    figures = build([void]).figures
    assert [figure.source for figure in figures] == ["by_attribute"]


def test_sets_of_neurons_are_written_in_words():
    table = a_table(
        "intervention_effects",
        operation=("suppress",) * 2 + ("suppress_renormalized",) * 2,
        neuron_set=("own", "own_minus_neighbor") * 2,
        log_odds=(0.1, 0.2, 0.3, 0.4),
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert [panel.title for panel in figure.panels] == ["suppress", "suppress, renormalized"]
    assert figure.panels[0].series[0].x == ("own", "own − neighbor")


def test_levels_of_few_facts_are_not_drawn():
    table = a_table(
        "by_attribute",
        attribute=("class",) * 3,
        level=("a", "b", "c"),
        kappa=(0.1, 0.2, 0.9),
        facts=(9, 3, 2),
    )
    figure = drawn(table, "f")
    assert figure is not None
    assert figure.panels[0].series[0].x == ("a", "b")


def test_two_figures_of_one_table_have_titles_of_their_own():
    columns = {"layer": (0, 1), "median": (0.1, 0.2), "percentile_95": (0.2, 0.3), "over": (0.1, 0.0)}
    table = Table(name="completeness_by_layer", title="Gap", columns={"method": ("ig", "ig"), **columns})
    assert [one.title for one in figures(table, "f")] == ["Gap", "Gap, against the tolerance"]


def test_models_are_compared_by_panels_of_their_measures():
    values = dict.fromkeys(("kappa", "dice", "ki", "known"), (0.1, 0.2))
    ends = {f"{name}_{end}": cells for name, cells in values.items() for end in ("low", "high")}
    (figure,) = figures(
        Table(name="models", title="Models", columns={"model": ("a", "b"), **values, **ends}), "f"
    )
    assert [panel.title for panel in figure.panels] == [
        "κ", "Inconsistent facts, K_I(k₀)", "D", "Known queries",
    ]  # fmt: skip
    assert figure.panels[1].axis == "share"


def test_neurons_before_and_after_have_a_panel_a_measure_and_a_row_each():
    """Rows of one query stand below each other; both panels tick members; shares have the ends 0 and 1."""
    cells = [
        (words + "France", column, 0.4 / (1 + after), 1.2 if after else 0.5, column == "L0.N3")
        for after, words in enumerate(("", "Suppressed: "))
        for column in ("L0.N3", "L2.N1")
    ]
    names = ("row", "column", "activation", "attribution", "member")
    table = Table(
        name="suppressed_typical", title="T", columns=dict(zip(names, zip(*cells, strict=True), strict=True)),
        labels={},
    )  # fmt: skip
    (drawn,) = figures(table, "f")
    assert drawn.kind == "multiples"
    activation, product = drawn.panels
    assert [series.name for series in activation.series] == ["France", "Suppressed: France"]
    assert [series.ticked for series in product.series] == [(True, False), (True, False)]
    assert (activation.limits, product.limits) == (None, (0.0, 1.0))
    assert activation.value_label == "Activation"
    assert product.value_label.startswith("Gradient × activation")


def test_attention_ticks_synapses():
    table = Table(
        name="attention_typical", title="T", labels={},
        columns={
            "head": ("L0.H1", "L0.H1"), "token": ("The", "capital"), "attention": (0.25, 0.5),
            "synapse": (False, True),
        },
    )  # fmt: skip
    (drawn,) = figures(table, "f")
    assert (drawn.kind, drawn.limits) == ("heatmap", (0.0, 1.0))
    assert drawn.series[0].ticked == (False, True)
