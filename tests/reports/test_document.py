"""What a document says: verdicts counted, tables as figures, numbers rounded once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math

import pytest

from qloc import rounding
from qloc.analysis.results import Table
from qloc.errors import InputError
from qloc.reports import result_text
from qloc.reports.build import block, build
from qloc.reports.document import TableBlock
from qloc.reports.figures.from_table import figure as drawn
from qloc.reports.figures.palette import DARK, LIGHT, N_SERIES, N_STEPS, contrast
from qloc.reports.figures.table_recipes import recipe_of


def a_table(name: str, **columns) -> Table:
    return Table(name=name, title=name, columns=columns)


def test_headline_counts_the_confirmatory_verdicts(study, bare, void):
    def headline(result):
        return build([result]).parts[0].summary.headline

    assert (
        headline(study)
        == "Of 3 confirmatory tests, 1 holds, 1 does not hold and 1 is undecided. 1 more is exploratory."
    )
    assert headline(void) == "Of 1 confirmatory test, 1 is not identified."
    assert headline(bare) == "No test was made."
    only = dataclasses.replace(study.questions[2], tests=study.questions[2].tests[:1])
    assert (
        headline(dataclasses.replace(study, questions=(only,)))
        == "This study measures; it gives no verdicts."
    )


def test_summary_has_every_test_once_confirmatory_first(study):
    summary = build([study]).parts[0].summary
    listed = [
        finding.test.name
        for finding in (*summary.held, *summary.failed, *summary.undecided, *summary.measured)
    ]
    assert listed == ["H1a", "L2", "H2", "H1b", "L1"]
    assert sorted(listed) == sorted(test.name for test in study.tests())


def test_what_the_plan_confirms_stands_apart(study):
    """Every test once, under its role; the plan's digest is that of its canonical JSON, recomputed here."""
    summary = build([study]).parts[0].summary
    text = json.dumps(dict(study.plan), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert summary.digest == hashlib.sha256(text.encode()).hexdigest()
    titles = [title for title, _ in summary.roles()]
    assert titles == [
        f"Confirmatory: the tests that analysis plan {summary.digest[:12]} names",
        "Exploratory: to be confirmed on other data",
        "Descriptive",
    ]
    listed = []
    for role, (_, groups) in zip(
        ("confirmatory", "exploratory", "descriptive"), summary.roles(), strict=True
    ):
        findings = [finding for _, of_verdict in groups for finding in of_verdict]
        assert {finding.test.role for finding in findings} == {role}
        listed += [finding.test.name for finding in findings]
    assert sorted(listed) == sorted(test.name for test in study.tests())


def test_every_table_that_can_be_drawn_is(study):
    kinds = {figure.source: figure.kind for figure in build([study]).figures}
    assert kinds == {
        "consistency_by_relation": "dots",
        "ki_by_threshold": "multiples",
        "overlap_decomposition": "stacked",
        "heatmap_typical": "heatmap",
        "layer_profile": "profile",
        "by_attribute": "multiples",
        "rarefaction": "multiples",
        "counts_by_relation": "bars",
        "consistency_overall": "dots",
        "completeness_by_layer": "profile",
    }


def test_figures_and_sections_have_ids_of_their_own(study):
    document = build([study, study])
    ids = [figure.id for figure in document.figures] + [
        s.id for part in document.parts for s in part.sections
    ]
    assert len(ids) == len(set(ids))


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
    assert [one.name for one in figure.panels[1].series] == ["as published"]
    assert figure.panels[0].series[0].low.count(None) == 9


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [("heatmap_most_consistent", "heatmap"), ("completeness_by_layer", "profile"), ("heatmaps", None)],
)
def test_recipes_go_by_the_longest_name_that_begins_a_table(name, kind):
    found = recipe_of(a_table(name))
    assert (found and found.kind) == kind


def test_more_series_than_colours_become_panels():
    kinds = tuple(f"kind {n}" for n in range(N_SERIES + 8) for _ in range(2))
    table = a_table("layer_profile", group=kinds, layer=(0, 1) * 14, share=(0.1, 0.3) * 14)
    figure = drawn(table, "f")
    assert figure is not None
    assert (figure.kind, len(figure.panels)) == ("multiples", 12)
    assert figure.caption == "The first 12 of 14 are drawn; the table has all."


def test_rows_with_nothing_to_draw_are_left_to_the_table():
    table = a_table("consistency_by_relation", relation=("a", "pair", "b"), kappa=(0.1, None, 0.2))
    figure = drawn(table, "f")
    assert figure is not None
    assert figure.series[0].x == ("b", "a")


def test_panels_share_one_scale(study):
    figure = next(figure for figure in build([study]).figures if figure.source == "by_attribute")
    assert [panel.limits for panel in figure.panels] == [(0.1, 0.7)] * 2


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (
            a_table("own", arm=("a", "b"), value=(1.0, 2.0), value_low=(0.5, 1.5), value_high=(1.5, 2.5)),
            "dots",
        ),
        (a_table("own", budget=(1, 2), mean=(1.0, 2.0), low=(0.5, 1.5), high=(1.5, 2.5)), "lines"),
        (a_table("own", arm=("a", "b"), value=(1.0, 2.0)), None),
        (a_table("layer_profile", layer=(0, 1), share=(0.5, 0.5)), "profile"),
    ],
)
def test_unknown_tables_with_intervals_are_drawn(table, kind):
    figure = drawn(table, "f")
    assert (figure and figure.kind) == kind


def test_nothing_to_draw_is_no_figure(void):
    figures = build([void]).figures
    assert [figure.source for figure in figures] == ["by_attribute"]


def test_alternative_texts_tell_the_extremes(study):
    told = {figure.source: figure.alt for figure in build([study]).figures}
    assert told["consistency_by_relation"] == (
        "Dot plot: Agreement beyond chance, by relation. κ, other answers: highest P36 capital at 0.71, "
        "lowest P19 birthplace at 0.12, of 9. κ, same answer: highest P36 capital at 0.237, "
        "lowest P19 birthplace at 0.04, of 9."
    )
    assert told["completeness_by_layer"].endswith(
        "over 0.05. Highest layer 2 at 6%, lowest layer 0 at 4%, of 3."
    )
    assert "CS2 < 0.1: as published: from 1.5% at 0.05 to 38% at 0.5." in told["ki_by_threshold"]
    assert "facts: highest layer 8 at 20%" in told["layer_profile"]
    assert told["heatmap_typical"].endswith("France → Paris. 4 rows, 10 columns, from 0 to 1.")


def test_columns_are_written_by_what_they_hold():
    table = block(
        a_table(
            "t", method=("ig", None), n=(1200, None), value=(0.5, math.nan), p=(0.00001, 0.2), ok=(True, None)
        )
    )
    assert table.kinds == ("text", "count", "number", "p", "text")
    assert result_text.rows(table) == [("ig", "1,200", "0.5", "< 0.001", "yes"), ("–", "–", "–", "0.2", "–")]
    assert result_text.rows(TableBlock(name="t", title="", heads=(), columns=(), kinds=())) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.5, "−0.5"),
        (1234.5, "1,234"),
        (99999, "99,999"),
        (1e-7, "1.00 × 10⁻⁷"),
        (math.inf, "–"),
    ],
)
def test_numbers(value, text):
    assert rounding.number(value) == text


def test_several_studies_are_compared(study):
    other = dataclasses.replace(study, title="other", questions=study.questions[:1])
    document = build([study, other])
    assert document.title == "2 studies compared"
    assert document.comparison is not None
    table = document.comparison.table
    assert table.heads == ("test", study.title, "other")
    assert table.columns[2][:1] == ("holds, 0.412 [0.381, 0.442]",)
    assert table.columns[2][2] == "not made"
    assert document.comparison.figure is not None
    assert [panel.title for panel in document.comparison.figure.panels] == ["H1a", "H1b", "H2", "L1", "L2"]


def test_no_results_are_refused():
    with pytest.raises(InputError) as raised:
        build([])
    assert str(raised.value) == (
        "results is []; expected at least one folder that `qloc analyze` wrote. At qloc report. "
        "Run `qloc analyze` first."
    )


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_colours_have_contrast(colours):
    paper = colours["paper"]
    assert contrast(colours["ink"], paper) >= 7
    assert contrast(colours["muted"], paper) >= 4.5
    assert min(contrast(colours[f"series-{n}"], paper) for n in range(N_SERIES)) >= 3
    assert min(contrast(colours[f"ramp-{n}"], colours[f"on-ramp-{n}"]) for n in range(N_STEPS)) >= 4.5
