"""Plots with room for words: forests, whose rows are sentences, and violins, which show every fact."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from qloc.arrays import Floats
from qloc.reports.document import Figure, Series
from qloc.reports.figures import palette
from qloc.reports.figures.axes_frames import rows
from qloc.reports.figures.axis_labels import CHARACTER, categories, floats, ticks, written
from qloc.reports.figures.marks import mark_of
from qloc.text.rounding import available, estimated

LINE: Final = 17
"""Height of a line of a forest, in CSS pixels."""
_NUMBERS: Final = 130
"""Room right of a forest's axis for the estimates, in CSS pixels."""
_BEYOND: Final = 1.25
"""How far from 0 the axis of a forest goes at most, unless an estimate lies further."""


def forest(axes: Axes, figure: Figure, width: int) -> None:
    """Draw each row as a sentence, and below it a line of each series with its interval and its numbers.

    Parameters
    ----------
    axes : Axes
        Empty.
    figure : Figure
        Of kind ``forest``.
    width : int
        In CSS pixels.
    """
    low, high = _ends(figure)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    top = 0.0
    for name in categories(figure):
        lines = sentence(name, width)
        axes.text(0, top, "\n".join(lines), transform=beside, va="top", linespacing=1.15)
        top += len(lines) + 0.2
        start = top
        for n, series in enumerate(figure.series):
            if name in series.x:
                _interval(axes, figure, n, series.x.index(name), top + 0.35, (low, high))
                top += 1
        at = [mark.at for mark in figure.marks]
        dashed: dict[str, Any] = {"color": palette.colour("muted"), "linewidth": 1, "linestyle": (0, (2, 2))}
        axes.vlines(at, start - 0.15, top - 0.05, zorder=0.5, **dashed)
        top += 0.55
    axes.set_ylim(max(top - 0.2, 1), -0.2)
    axes.set_xlim(low, high + _NUMBERS / (width - _NUMBERS) * (high - low))
    axes.set_yticks([])
    axes.set_xlabel(figure.value_label, loc="left")
    axes.xaxis.set_major_locator(ticks(5, whole=False))
    axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= high])
    axes.xaxis.set_major_formatter(written("number"))


def sentence(name: str, width: int) -> list[str]:
    """Break the sentence of a row into lines.

    Parameters
    ----------
    name : str
        Of a category.
    width : int
        Of the figure, in CSS pixels.

    Returns
    -------
    list of str
        Three at most.
    """
    return textwrap.wrap(name, max(20, int(width / CHARACTER) - 2), max_lines=3, placeholder=" …") or [""]


def forest_height(figure: Figure, width: int) -> float:
    """Return how high a forest is.

    Parameters
    ----------
    figure : Figure
        Of kind ``forest``.
    width : int
        In CSS pixels.

    Returns
    -------
    float
        In CSS pixels.
    """
    n_lines = sum(len(sentence(name, width)) + 0.75 for name in categories(figure))
    return LINE * (n_lines + sum(len(series.x) for series in figure.series)) + 56


def _ends(figure: Figure) -> tuple[float, float]:
    values = [abs(y) for series in figure.series for y in series.y if y is not None]
    bounds = [abs(end) for series in figure.series for end in (*series.low, *series.high) if end is not None]
    widest = min(max(bounds, default=1.0), _BEYOND)
    reach = 1.04 * max([1.0, widest, *values])
    return -reach, reach


def _interval(axes: Axes, figure: Figure, n: int, place: int, y: float, limits: tuple[float, float]) -> None:
    """One estimate with its interval, cut at the axis, and its numbers at the right."""
    series, mark = figure.series[n], mark_of(figure, n)
    value, low, high = series.y[place], series.low[place], series.high[place]
    if value is None:
        return
    if low is not None and high is not None:
        axes.hlines(y, max(low, limits[0]), min(high, limits[1]), color=mark.colour, linewidth=1.8)
        for end, sign, beyond in ((limits[0], "<", low < limits[0]), (limits[1], ">", high > limits[1])):
            if beyond:
                axes.plot([end], [y], sign, color=mark.colour, markersize=6, clip_on=False)
    axes.plot(
        [value], [y], mark.marker, color=mark.colour, markersize=6.5, markerfacecolor=mark.face,
        label=series.name if place == 0 else None,
    )  # fmt: skip
    told, *ends = estimated(value, low, high)
    text = f"{told} [{', '.join(ends)}]" if available(low) and available(high) else told
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    axes.text(1, y, text, transform=beside, ha="right", va="center", color=palette.colour("muted"))


def violins(axes: Axes, figure: Figure, width: int) -> None:
    """Draw the distribution of each row's values, each value as a point, and their median.

    Parameters
    ----------
    axes : Axes
        Empty.
    figure : Figure
        Of kind ``violins``; a series holds one value a fact, with its row in ``x``.
    width : int
        In CSS pixels.
    """
    names = categories(figure)
    for n, series in enumerate(figure.series):
        mark = mark_of(figure, n)
        for row, name in enumerate(names):
            values = _values(series, name)
            if not len(values):
                continue
            grid, half = density(values)
            face = "none" if mark.hollow else mark.colour
            axes.fill_between(
                grid, row - 0.4 * half, row + 0.4 * half, facecolor=face, edgecolor=mark.colour,
                alpha=1.0 if mark.hollow else 0.22, linewidth=0.9,
            )  # fmt: skip
            spread = 0.22 * np.sin(2.4 * np.arange(len(values))) * np.interp(values, grid, half)
            axes.plot(values, row + spread, "o", color=mark.colour, markersize=2.6, markerfacecolor=mark.face)
            axes.plot(
                [np.median(values)], [row], "|", color=palette.colour("ink"), markersize=13, markeredgewidth=2
            )
    rows(axes, figure, names, width)


def _values(series: Series, name: str) -> Floats:
    drawn = [
        y for x, y in zip(series.x, floats(series.y), strict=True) if str(x) == name and math.isfinite(y)
    ]
    return np.array(sorted(drawn), dtype=np.float64)


def density(values: Sequence[float] | Floats, n: int = 80) -> tuple[Floats, Floats]:
    """Return the outline of a violin: a Gaussian kernel's density, scaled to 1 where it is highest.

    Parameters
    ----------
    values : sequence of float
        One at least, all finite.
    n : int, default 80
        Places at which it is computed, from the least value to the greatest.

    Returns
    -------
    grid, height : float64 ndarray, shape (n,)
        Silverman's rule gives the bandwidth; values that are all alike have a height of 1 at their place.
    """
    found = np.asarray(values, dtype=np.float64)
    spread = float(found.std())
    if not spread:
        return np.full(2, found[0]), np.ones(2)
    width = 0.9 * spread * len(found) ** -0.2
    grid = np.linspace(found.min(), found.max(), n)
    height = np.exp(-0.5 * ((grid[:, None] - found[None, :]) / width) ** 2).sum(axis=1)
    return grid, height / height.max()
