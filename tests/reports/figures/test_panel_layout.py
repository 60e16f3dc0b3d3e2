"""Sizes of figures, panels beside each other, and legends."""

import io

import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
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


def rows_of_panels(canvas: Canvas) -> list[int]:
    """How many panels stand in each row."""
    places = [axes.get_subplotspec() for axes in canvas.axes]
    rows = [place.rowspan.start for place in places if place is not None]
    return [rows.count(row) for row in sorted(set(rows))]


@pytest.mark.parametrize(("n", "rows"), [(3, [3]), (4, [2, 2]), (5, [3, 2]), (6, [3, 3]), (7, [3, 3, 1])])
def test_rows_of_panels_are_as_even_as_can_be(n, rows):
    panels = tuple(a_figure() for _ in range(n))
    figure = Figure(kind="multiples", id="f", title="t", alt="", panels=panels)
    assert rows_of_panels(drawn(figure, WIDE)) == rows


@pytest.mark.parametrize("kind", ["dots", "lines"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_titles_of_panels_are_whole(kind, width):
    title = "Overlap beyond the answer's own words (H1b)"
    x = ("a", "b") if kind == "dots" else (1, 2)
    panel = Figure(kind=kind, id="f", title=title, alt="", series=(Series(name="s", x=x, y=(0.0, 1.0)),))
    canvas = drawn(Figure(kind="multiples", id="f", title="t", alt="", panels=(panel,) * 4), width)
    assert {axes.get_title().replace("\n", " ") for axes in canvas.axes} == {title}


def test_panels_with_rows_of_their_own_have_room_for_the_names():
    names = ("CAS less own, at equal damage", "CAS less union, at equal damage")
    panels = tuple(
        Figure(
            kind="dots",
            id=f"f{n}",
            title="t",
            alt="",
            series=(Series(name="s", x=names[n:], y=(0.1,) * (2 - n)),),
        )
        for n in range(2)
    )
    canvas = drawn(Figure(kind="multiples", id="f", title="t", alt="", panels=panels), WIDE)
    assert rows_of_panels(canvas) == [1, 1]
    assert [label.get_text() for label in canvas.axes[0].get_yticklabels()] == list(names)


def test_each_heatmap_among_several_has_a_scale():
    panels = tuple(a_figure(n_series=2, kind="heatmap") for _ in range(2))
    whole = Figure(kind="multiples", id="m", title="t", alt="", panels=panels)
    canvas = drawn(whole, WIDE)
    assert len(canvas.axes) == 4
    alone = drawn(panels[0], WIDE)
    assert canvas.get_figheight() > 2 * alone.get_figheight()


@pytest.mark.parametrize("kind", ["dots", "bars"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_panel_that_lacks_a_series_leaves_all_their_room(kind, width):
    """Layout is given up, with a warning, where a mark has no size."""
    panels = []
    for n in (10, 14, 10):
        names = tuple(f"a set of neurons that is number {row}" for row in range(n))
        first, second = (Series(name=f"s{k}", x=names, y=tuple(0.01 * row for row in range(n))) for k in "01")
        series = (first, second if n == 14 else Series(name="s1", x=(), y=()))
        panels.append(Figure(kind=kind, id=f"f{n}", title="t", alt="", series=series, axis="share"))
    figure = Figure(kind="multiples", id="f", title="t", alt="", panels=tuple(panels))
    canvas = Canvas(layout="constrained")
    draw(canvas, figure, width)
    FigureCanvasSVG(canvas).print_svg(io.StringIO())
    assert sum(axes.get_position().height for axes in canvas.axes) > 0.5
