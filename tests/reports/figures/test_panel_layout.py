"""Sizes of figures, panels beside each other, and legends."""

import pytest
from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure, FigureKind, Series
from qloc.reports.figures.panel_layout import draw
from qloc.reports.figures.svg import NARROW, WIDE


def a_figure(n_series: int = 1, n_rows: int = 3, kind: FigureKind = "dots") -> Figure:
    x = tuple(f"row {n}" for n in range(n_rows))
    series = tuple(
        Series(name=f"s{n}", x=x, y=tuple(0.1 * k for k in range(n_rows))) for n in range(n_series)
    )
    return Figure(kind=kind, id="f", title="t", alt="", series=series)


def drawn(figure: Figure, width: int) -> Canvas:
    canvas = Canvas()
    draw(canvas, figure, width)
    return canvas


def test_a_figure_is_as_wide_as_asked_and_grows_with_its_rows():
    few, many = (drawn(a_figure(n_rows=n), WIDE) for n in (3, 9))
    assert few.get_figwidth() * 72 == pytest.approx(WIDE)
    assert many.get_figheight() > few.get_figheight()


def test_several_series_have_a_legend_and_one_has_none():
    assert not drawn(a_figure(), WIDE).legends
    legend = (
        drawn(a_figure(n_series=2), WIDE).legends or drawn(a_figure(n_series=2), WIDE).axes[0].get_legend()
    )
    assert legend


def test_panels_stand_beside_each_other_and_below_on_a_phone():
    panels = tuple(a_figure() for _ in range(4))
    figure = Figure(kind="multiples", id="f", title="t", alt="", panels=panels)
    columns = {}
    for width in (WIDE, NARROW):
        canvas = drawn(figure, width)
        assert len(canvas.axes) == 4
        places = [axes.get_subplotspec() for axes in canvas.axes]
        columns[width] = len({place.colspan.start for place in places if place is not None})
    assert columns[WIDE] > columns[NARROW] >= 1
