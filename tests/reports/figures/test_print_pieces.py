"""Pieces of high figures: every row and every panel once, in order, on one scale."""

import pytest

from qloc.reports.document import Figure, FigureKind, Mark, Series
from qloc.reports.figures.print_pieces import pieces

NAMES = tuple(f"row {n}" for n in range(10))


def figure(kind: FigureKind) -> Figure:
    y = tuple(n / 10 for n in range(10))
    if kind == "heatmap":
        series = tuple(Series(name=name, x=("a", "b"), y=(value, -value), ticked=(True, False))
                       for name, value in zip(NAMES, y, strict=True))  # fmt: skip
        return Figure(kind=kind, id="f", title="t", alt="", series=series)
    low, high = (tuple(value + by for value in y) for by in (-0.1, 0.2))
    series = (Series(name="s", x=NAMES, y=y, low=low, high=high), Series(name="o", x=NAMES[:3], y=y[:3]))
    return Figure(kind=kind, id="f", title="t", alt="", series=series, marks=(Mark(at=2.0, label=""),))


@pytest.mark.parametrize("kind", ["dots", "bars", "violins"])
def test_rows_are_cut_on_one_scale(kind):
    cut = pieces(figure(kind), ratio=2.9, most=1.0)
    assert [one.id for one in cut] == ["f-part-1", "f-part-2", "f-part-3"]
    assert [name for one in cut for name in one.series[0].x] == list(NAMES)
    assert max(len(one.series[0].x) for one in cut) == 4
    assert len({one.limits for one in cut}) == 1
    assert cut[0].limits is not None
    low, high = cut[0].limits
    assert low < -0.1
    assert high > 2.0
    assert [len(one.series[0].low) for one in cut] == [len(one.series[0].x) for one in cut]
    assert [len(one.series[1].x) for one in cut] == [3, 0, 0]


def test_a_heatmap_is_cut_by_its_rows():
    cut = pieces(figure("heatmap"), ratio=2.0, most=1.0)
    assert [series.name for one in cut for series in one.series] == list(NAMES)
    assert {one.limits for one in cut} == {(-0.9, 0.9)}
    assert all(series.ticked == (True, False) for one in cut for series in one.series)


def test_panels_are_cut_and_nothing_else_is():
    panels = tuple(figure("dots") for _ in range(5))
    cut = pieces(Figure(kind="multiples", id="m", title="t", alt="", panels=panels), ratio=9.0, most=1.0)
    assert [len(one.panels) for one in cut] == [1] * 5
    assert len(pieces(figure("lines"), ratio=9.0, most=1.0)) == 1
