"""One drawer for each kind of figure: what is drawn is what the data say."""

from typing import get_args

import pytest
from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure, FigureKind, Mark, Series
from qloc.reports.figures.plots import DRAWERS, crowded

X = ("a", "b", "c")


def axes_of(figure: Figure):
    axes = Canvas().add_subplot()
    DRAWERS[figure.kind](axes, figure, 680)
    return axes


def test_every_kind_but_small_charts_has_a_drawer():
    assert set(DRAWERS) == set(get_args(FigureKind)) - {"multiples"}


def test_lines_go_through_the_points():
    series = Series(name="s", x=(1, 2, 4), y=(0.5, None, 0.25))
    axes = axes_of(Figure(kind="lines", id="f", title="t", alt="", series=(series,)))
    drawn = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    assert drawn[0].get_xdata().tolist() == [1, 2, 4]
    assert drawn[0].get_ydata()[[0, 2]].tolist() == [0.5, 0.25]


def test_bars_are_as_long_as_their_values():
    axes = axes_of(
        Figure(kind="bars", id="f", title="t", alt="", series=(Series(name="s", x=X, y=(1.0, 2.0, 3.0)),))
    )
    lengths = sorted(round(max(bar.get_width(), bar.get_height()), 6) for bar in axes.patches)
    assert {1.0, 2.0, 3.0} <= set(lengths)


@pytest.mark.parametrize("kind", ["dots", "bars", "lines", "profile"])
def test_a_mark_has_its_label(kind):
    x = (1, 2, 3) if kind in ("lines", "profile") else X
    series = Series(name="s", x=x, y=(0.1, 0.2, 0.3))
    figure = Figure(
        kind=kind, id="f", title="t", alt="", series=(series,), marks=(Mark(at=0.2, label="Otsu"),)
    )
    assert "Otsu" in {text.get_text() for text in axes_of(figure).texts}


def test_long_names_crowd_a_narrow_figure():
    series = (Series(name="s", x=tuple(f"a rather long name {n}" for n in range(8)), y=(0.0,) * 8),)
    figure = Figure(kind="heatmap", id="f", title="t", alt="", series=series)
    assert crowded(figure, 350)
    assert not crowded(figure, 3500)
