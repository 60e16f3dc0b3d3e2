"""How each kind of figure is drawn on its axes; rows run from top to bottom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from qloc.reports.document import Figure, FigureKind, Series
from qloc.reports.figures import palette, row_plots
from qloc.reports.figures.axes_frames import frame, rows
from qloc.reports.figures.axis_labels import CHARACTER, categories, clipped, floats, folded, ticks, written
from qloc.reports.figures.marks import SeriesMark, mark_of, published_mark
from qloc.reports.published import is_published
from qloc.text import rounding

BANDS: Final = 20
"""Height of the names of layers above a heatmap, in CSS pixels."""
TALL: Final = 16
"""Rows from which a heatmap's columns are named at both ends."""
_NEURON: Final = re.compile(r"(L\d+)\.N\d+")

Drawer = Callable[[Axes, Figure, int], None]


def _dots(axes: Axes, figure: Figure, width: int) -> None:
    names = categories(figure)
    place = {name: row for row, name in enumerate(names)}
    offsets = _offsets(figure, 0.4 / max(1, len(figure.series) - 1))
    for n, series in enumerate(figure.series):
        y = [place[str(name)] + offsets.get((n, str(name)), 0.0) for name in series.x]
        for rows_of, mark in _marked(figure, n):
            _dotted(axes, series, y, rows_of, mark)
    rows(axes, figure, names, width)


def _marked(figure: Figure, n: int) -> Iterator[tuple[list[int], SeriesMark]]:
    """The rows of a series, and their mark: rows as published have their own."""
    series = figure.series[n]
    hollow = [place for place, name in enumerate(series.x) if is_published(name)]
    yield [place for place in range(len(series.x)) if place not in hollow], mark_of(figure, n)
    if hollow:
        yield hollow, replace(published_mark(), marker=mark_of(figure, n).marker)


def _dotted(axes: Axes, series: Series, y: Sequence[float], chosen: Sequence[int], mark: SeriesMark) -> None:
    at = [y[place] for place in chosen]
    values, low, high = (
        floats([cells[place] for place in chosen]) if cells else []
        for cells in (series.y, series.low, series.high)
    )
    if low:
        axes.hlines(at, low, high, color=mark.colour, linewidth=1.6)
    label = None if mark.hollow and not is_published(series.name) else series.name
    axes.plot(
        values, at, mark.marker, color=mark.colour, markersize=5.5, markerfacecolor=mark.face, label=label,
        clip_on=not values,  # whole at the ends of an axis; nothing, unclipped, leaves the layout no room
    )  # fmt: skip


def _bars(axes: Axes, figure: Figure, width: int) -> None:
    names = categories(figure)
    place = {name: row for row, name in enumerate(names)}
    thick = 0.66 / max(1, len(figure.series))
    offsets = _offsets(figure, thick)
    for n, series in enumerate(figure.series):
        y = [place[str(name)] + offsets.get((n, str(name)), 0.0) for name in series.x]
        mark = mark_of(figure, n)
        face = "none" if mark.hollow else mark.colour
        axes.barh(y, floats(series.y), height=thick, color=face, edgecolor=mark.colour, label=series.name)
        if series.low:
            axes.hlines(
                y, floats(series.low), floats(series.high), color=palette.colour("paper"), linewidth=3
            )
            axes.hlines(y, floats(series.low), floats(series.high), color=palette.colour("ink"), linewidth=1)
    rows(axes, figure, names, width)


def _offsets(figure: Figure, step: float) -> dict[tuple[int, str], float]:
    """How far each series stands from the middle of each row; a series that is absent there takes no room."""
    offsets = {}
    for name in categories(figure):
        present = [
            n
            for n, series in enumerate(figure.series)
            if any(str(x) == name and y is not None for x, y in zip(series.x, series.y, strict=True))
        ]
        offsets.update({(n, name): (k - (len(present) - 1) / 2) * step for k, n in enumerate(present)})
    return offsets


def _stacked(axes: Axes, figure: Figure, width: int) -> None:
    names = categories(figure)
    place = {name: row for row, name in enumerate(names)}
    up, down = np.zeros(len(names)), np.zeros(len(names))
    for n, series in enumerate(figure.series):
        at = [place[str(name)] for name in series.x]
        values = np.nan_to_num(np.array(floats(series.y)))
        start = np.where(values >= 0, up[at], down[at])
        paper = palette.colour("paper")
        axes.barh(
            at, values, left=start, height=0.66, color=palette.series(n), label=series.name,
            edgecolor=paper, linewidth=1,
        )  # fmt: skip
        up[at] += np.maximum(values, 0)
        down[at] += np.minimum(values, 0)
    rows(axes, figure, names, width)


def _lines(axes: Axes, figure: Figure, width: int) -> None:
    for n, series in enumerate(figure.series):
        mark = mark_of(figure, n)
        x, y, colour = floats(series.x), floats(series.y), mark.colour
        if series.low and None not in series.low:
            axes.fill_between(
                x, floats(series.low), floats(series.high), color=colour, alpha=0.16, linewidth=0
            )
        elif series.low:  # intervals here and there
            axes.vlines(x, floats(series.low), floats(series.high), color=colour, linewidth=1.6)
        marker = mark.marker if len(x) <= 16 else ""
        axes.plot(
            x, y, marker=marker, markersize=4.5, markerfacecolor=mark.face, color=colour, linestyle=mark.dash,
            linewidth=1.8, label=series.name,
        )  # fmt: skip
    whole = all(float(x).is_integer() for series in figure.series for x in floats(series.x))
    axes.xaxis.set_major_locator(ticks(max(4, width // 80), whole))
    axes.xaxis.set_major_formatter(written("count" if whole else "number"))
    frame(axes, figure, width)


def _profile(axes: Axes, figure: Figure, width: int) -> None:
    thick = (0.78 if max(len(one.x) for one in figure.series) > 8 else 0.5) / len(figure.series)
    for n, series in enumerate(figure.series):
        shift = (n - (len(figure.series) - 1) / 2) * thick
        x = np.array(floats(series.x)) + shift
        y = np.array(floats(series.y))
        mark = mark_of(figure, n)
        face = "none" if mark.hollow else mark.colour
        axes.bar(x, y, width=thick, color=face, edgecolor=mark.colour, label=series.name)
        if series.low:
            low, high = np.array(floats(series.low)), np.array(floats(series.high))
            axes.vlines(x, low, high, color=palette.colour("paper"), linewidth=3)  # to be seen on dark bars
            axes.vlines(x, low, high, color=palette.colour("ink"), linewidth=1)
    axes.xaxis.set_major_locator(ticks(max(4, width // 55), True))
    frame(axes, figure, width)


def _heatmap(axes: Axes, figure: Figure, width: int) -> None:
    columns = categories(figure)
    place = {name: column for column, name in enumerate(columns)}
    low, high = scale(figure)
    ticked = any(series.ticked for series in figure.series)
    told = 34 * len(columns) < 0.7 * width and not ticked
    framed = []
    for row, series in enumerate(figure.series):
        for n, (name, value) in enumerate(zip(series.x, series.y, strict=True)):
            if value is not None:
                step = palette.step((value - low) / (high - low) if high > low else 0.5)
                _cell(axes, row, place[str(name)], step, _short(value) if told else "")
                if ticked and series.ticked[n]:
                    framed.append((row, place[str(name)]))
    for row, column in framed:
        _frame(axes, row, column)
    _grid_of_names(axes, figure, columns, width)


def _short(value: float) -> str:
    """A number that fits into a cell."""
    text = rounding.fixed(value, 2)
    return text if len(text) <= 6 else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def scale(figure: Figure) -> tuple[float, float]:
    """Return the values at both ends of a heatmap's ramp.

    Parameters
    ----------
    figure : Figure
        A heatmap.

    Returns
    -------
    low, high : float
        Its limits; without them from nothing, or from the least where that is below, to the most.
    """
    values = [value for series in figure.series for value in series.y if value is not None]
    return figure.limits or (min(0.0, *values), max(values))


def scale_title(figure: Figure, width: int) -> str:
    """Return what a heatmap's scale is of, in lines that have room above it.

    Parameters
    ----------
    figure : Figure
        The heatmap.
    width : int
        Of the figure, in CSS pixels.

    Returns
    -------
    str
        Lines, parted by line feeds.
    """
    return folded(figure.value_label, width, 0.55)


def ramp(axes: Axes, figure: Figure, width: int) -> None:
    """Draw the scale of a heatmap: its steps, and the values at its ends.

    Parameters
    ----------
    axes : Axes
        As wide as the scale is to be.
    figure : Figure
        The heatmap.
    width : int
        Of the figure, in CSS pixels.
    """
    low, high = scale(figure)
    for step in range(palette.N_STEPS):
        axes.fill_between([step, step + 1], 0, 1, color=palette.colour(f"ramp-{step}"), linewidth=0)
    axes.set_xlim(0, palette.N_STEPS)
    axes.set_ylim(0, 1)
    written_ends = [rounding.number(float(end)) for end in (low, high)]
    axes.set_xticks([0, palette.N_STEPS], [f"{written_ends[0]}", f"{written_ends[1]}"])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(scale_title(figure, width), color=palette.colour("muted"))


def _cell(axes: Axes, row: int, column: int, step: int, text: str) -> None:
    # Made in less than half the time of fill_between, and cells are most of the work of large heatmaps.
    corner, colour = (column - 0.48, row - 0.46), palette.colour(f"ramp-{step}")
    axes.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=colour, linewidth=0))
    if text:
        ink = palette.colour(f"on-ramp-{step}")
        axes.text(float(column), float(row), text, ha="center", va="center", color=ink, fontsize=10)


def _frame(axes: Axes, row: int, column: int) -> None:
    """A frame of ink on a wider one of paper, so that it is seen on light and on dark cells."""
    for role, thick in (("paper", 3.6), ("ink", 1.6)):
        corner, colour = (column - 0.43, row - 0.41), palette.colour(role)
        axes.add_patch(Rectangle(corner, 0.86, 0.82, fill=False, edgecolor=colour, linewidth=thick))


def _grid_of_names(axes: Axes, figure: Figure, columns: Sequence[str], width: int) -> None:
    bands = layers_of(figure)
    labels = [clipped(name.partition(".")[2] if bands else name, 1.2 * width) for name in columns]
    axes.set_xticks(range(len(columns)), labels, rotation=90 if crowded(figure, width) else 0)
    axes.set_yticks(range(len(figure.series)), [folded(series.name, width) for series in figure.series])
    axes.tick_params(length=0, labeltop=named_twice(figure))
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(figure.series) - 0.5, -0.5)
    axes.spines["bottom"].set_visible(False)
    _bands(axes, bands)


def layers_of(figure: Figure) -> list[tuple[str, int, int]]:
    """Return the layers of a heatmap's columns, where these are neurons such as ``L3.N118``.

    Parameters
    ----------
    figure : Figure
        A heatmap.

    Returns
    -------
    list of (str, int, int)
        Each layer with its first and last column; empty where columns are something else.
    """
    found = [_NEURON.fullmatch(name) for name in categories(figure)]
    layers = [match[1] for match in found if match]
    if len(layers) < len(found):
        return []
    starts = [n for n, layer in enumerate(layers) if n == 0 or layers[n - 1] != layer]
    ends = [*(start - 1 for start in starts[1:]), len(layers) - 1]
    return [(layers[start], start, end) for start, end in zip(starts, ends, strict=True)]


def _bands(axes: Axes, bands: Sequence[tuple[str, int, int]]) -> None:
    """Name the layers above their columns, and part them."""
    beside = axes.get_xaxis_transform()
    for layer, first, last in bands:
        axes.annotate(
            layer, ((first + last) / 2, 1), xycoords=beside, xytext=(0, 5), textcoords="offset points",
            ha="center", color=palette.colour("muted"),
        )  # fmt: skip
        ends = [first - 0.42, last + 0.42]
        axes.plot(ends, [1, 1], transform=beside, color=palette.colour("muted"), linewidth=1.6, clip_on=False)


def named_twice(figure: Figure) -> bool:
    """Return whether a heatmap's columns are named above it too: its rows do not fit on one screen.

    Parameters
    ----------
    figure : Figure
        A heatmap.

    Returns
    -------
    bool
        True from 16 rows on, where no layers stand above.
    """
    return len(figure.series) >= TALL and not layers_of(figure)


def crowded(figure: Figure, width: int) -> bool:
    """Return whether a figure has no room at a width.

    Parameters
    ----------
    figure : Figure
        As data.
    width : int
        In CSS pixels.

    Returns
    -------
    bool
        True where its labels would not fit.
    """
    names = categories(figure)
    return max(map(len, names), default=0) * CHARACTER > 0.7 * width / max(1, len(names))


DRAWERS: Final[dict[FigureKind, Drawer]] = {
    "dots": _dots,
    "bars": _bars,
    "stacked": _stacked,
    "lines": _lines,
    "profile": _profile,
    "heatmap": _heatmap,
    "forest": row_plots.forest,
    "violins": row_plots.violins,
}
