"""One drawer for each kind of figure: what is drawn is what the data say."""

from typing import get_args

import pytest
from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure, FigureKind, Mark, Series
from qloc.reports.figures import palette
from qloc.reports.figures.panel_layout import draw
from qloc.reports.figures.plots import DRAWERS, crowded, layers_of

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


def test_a_series_that_is_absent_takes_no_room_in_its_row():
    both = Series(name="a", x=("one", "two"), y=(0.1, 0.2))
    one = Series(name="b", x=("one", "two"), y=(0.3, None))
    figure = Figure(kind="dots", id="f", title="t", alt="", series=(both, one))
    axes = axes_of(figure)
    places = [line.get_ydata().tolist() for line in axes.lines]
    assert places[0] == pytest.approx([-0.2, 1.0])
    assert places[1][0] == pytest.approx(0.2)


@pytest.mark.parametrize(("high", "ends"), [(1.0, (0.0, 1.0)), (1.3, None)])
def test_an_axis_of_shares_ends_at_one_unless_values_do_not(high, ends):
    series = Series(name="a", x=("one", "two"), y=(0.5, 0.9), low=(0.0, 0.6), high=(0.7, high))
    axes = axes_of(Figure(kind="dots", id="f", title="t", alt="", axis="share", series=(series,)))
    left, right = axes.get_xlim()
    if ends:
        assert (left, right) == pytest.approx((-0.015, 1.015))
    else:
        assert right > 1.3


def test_a_heatmap_has_its_scale():
    rows = tuple(Series(name=name, x=("L0.N1", "L1.N2"), y=(0.0, 2.5)) for name in ("p", "q"))
    figure = Figure(kind="heatmap", id="f", title="t", alt="", value_label="activation", series=rows)
    canvas = Canvas()
    draw(canvas, figure, 680)
    bar = canvas.axes[1]
    assert [label.get_text() for label in bar.get_xticklabels()] == ["0", "2.5"]
    assert bar.get_title(loc="left") or bar.get_title() == "activation"
    assert len(bar.collections) == palette.N_STEPS


def heatmap(*columns: str, value: float = 0.5) -> Figure:
    row = Series(name="The capital of France is [Y].", x=columns, y=tuple(value for _ in columns))
    return Figure(kind="heatmap", id="f", title="t", alt="", value_label="v", series=(row,), limits=(0, 1))


def test_neurons_stand_below_the_names_of_their_layers():
    figure = heatmap("L0.N3", "L0.N4", "L2.N1")
    assert layers_of(figure) == [("L0", 0, 1), ("L2", 2, 2)]
    axes = axes_of(figure)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["N3", "N4", "N1"]
    assert [text.get_text() for text in axes.texts][-2:] == ["L0", "L2"]
    assert layers_of(heatmap("L0.N3", "reliability")) == []


def test_a_cell_has_room_for_its_number():
    texts = [
        axes_of(heatmap("a", value=value)).texts[0].get_text() for value in (0.0042, -0.0042, 0.25, -1.5)
    ]
    assert texts == ["0.00", "0.00", "0.25", "−1.50"]


def test_ticked_cells_are_framed():
    """A frame of ink on one of paper: two patches more for each ticked cell."""
    row = Series(name="r", x=("L0.N3", "L1.N7"), y=(0.2, 0.9), ticked=(False, True))
    figure = Figure(kind="heatmap", id="f", title="t", alt="", series=(row,), limits=(0, 1))
    axes = axes_of(figure)
    frames = [patch for patch in axes.patches if not patch.get_fill()]
    assert len(axes.patches) == 2 + 2
    assert len(frames) == 2
    for frame in frames:
        assert frame.get_x() < 1 < frame.get_x() + frame.get_width()
    assert not axes.texts or all(text.get_text() in ("L0", "L1") for text in axes.texts)
