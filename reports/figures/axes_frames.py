"""What figures of many kinds share around their marks: names, grids, axes and reference lines."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from qloc.reports.document import Figure
from qloc.reports.figures import palette
from qloc.reports.figures.axis_labels import clipped, folded, padded, ticks, wrapped, written


def frame(axes: Axes, figure: Figure, width: int) -> None:
    """Draw what figures with values upwards share: labels, grid, axis and marks.

    Parameters
    ----------
    axes : Axes
        With what is drawn.
    figure : Figure
        As data.
    width : int
        In CSS pixels.
    """
    axes.grid(axis="y", linewidth=0.8)
    axes.set_xlabel(wrapped(figure.other_label, width))
    axes.set_title(clipped(figure.value_label, 2.4 * width), color=palette.colour("muted"))
    axes.yaxis.set_major_formatter(written(figure.axis))
    axes.yaxis.set_major_locator(ticks(5, figure.axis == "count"))
    if limits := figure.limits or _share_limits(figure, axes.get_ylim()):
        axes.set_ylim(*padded(limits))
    for mark in figure.marks:
        axes.axhline(mark.at, color=palette.colour("muted"), linewidth=1, linestyle=(0, (2, 2)))
        if mark.label:
            axes.annotate(
                mark.label, (1, mark.at), xycoords=("axes fraction", "data"), xytext=(-3, 3),
                textcoords="offset points", ha="right", color=palette.colour("muted"),
            )  # fmt: skip


def _share_limits(figure: Figure, ends: tuple[float, float]) -> tuple[float, float] | None:
    """The ends of an axis of shares without what no share can be; None for other axes, and other values."""
    values = [v for one in figure.series for v in (*one.y, *one.low, *one.high) if v is not None]
    if figure.axis != "share" or not values or min(values) < 0 or max(values) > 1:
        return None
    return max(0.0, ends[0]), min(1.0, ends[1])


def rows(axes: Axes, figure: Figure, names: Sequence[str], width: int) -> None:
    """Draw what figures with a row for each category share: names, grid, axis and marks.

    Parameters
    ----------
    axes : Axes
        With what is drawn.
    figure : Figure
        As data.
    names : sequence of str
        Of the rows, from the top.
    width : int
        In CSS pixels.
    """
    axes.set_yticks(range(len(names)), [folded(name, width) for name in names])
    axes.set_ylim(max(len(names), 1) - 0.4, -0.6)
    axes.grid(axis="x", linewidth=0.8)
    axes.set_xlabel(wrapped(figure.value_label, width))
    axes.xaxis.set_major_locator(ticks(max(3, width // 85), figure.axis == "count"))
    axes.xaxis.set_major_formatter(written(figure.axis))
    if limits := figure.limits or _share_limits(figure, axes.get_xlim()):
        axes.set_xlim(*padded(limits))
    for mark in figure.marks:
        axes.axvline(mark.at, color=palette.colour("muted"), linewidth=1, linestyle=(0, (2, 2)), zorder=0.9)
        if mark.label:
            axes.annotate(
                mark.label, (mark.at, 1), xycoords=("data", "axes fraction"), xytext=(3, 2),
                textcoords="offset points", color=palette.colour("muted"), annotation_clip=False,
            )  # fmt: skip
