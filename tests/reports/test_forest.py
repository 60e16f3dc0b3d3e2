"""One figure of all effects: rows, order, and what is left out."""

from __future__ import annotations

from dataclasses import replace

from qloc.reports.build import build
from qloc.reports.forest import N_ROWS, forest


def test_effects_stand_confirmatory_first_under_the_mark_of_their_verdict(study):
    figure = build([study]).parts[0].summary.figure
    assert figure is not None
    assert [series.name for series in figure.series] == ["confirmatory", "exploratory"]
    assert [str(name)[:5] for name in figure.series[0].x] == ["✓ H1a", "? H1b"]  # H2 has no effect size
    assert figure.series[0].y == (0.717171, 0.717171)
    assert figure.series[0].low == (0.65, 0.65)
    assert "matched rank-biserial" in figure.caption
    assert figure.alt.startswith("Forest plot")


def test_without_effects_there_is_no_figure_and_of_many_the_first_are_drawn(study, bare):
    assert build([bare]).parts[0].summary.figure is None
    one = build([study]).parts[0].sections[0].findings[0]
    many = [replace(one, test=replace(one.test, name=f"T{n}")) for n in range(N_ROWS + 2)]
    figure = forest([("", many)], "f", "t")
    assert figure is not None
    assert len(figure.series[0].x) == N_ROWS
    assert f"The first {N_ROWS} of {N_ROWS + 2} are drawn." in figure.caption
