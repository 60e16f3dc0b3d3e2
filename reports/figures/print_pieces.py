"""Cut figures that are too high for a page into pieces that paper takes, each with its axis and its scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from qloc.reports.document import Figure, Series
from qloc.reports.figures.axis_labels import categories

T = TypeVar("T")

_ROWED = ("dots", "bars", "stacked", "violins")


def pieces(figure: Figure, ratio: float, most: float) -> tuple[Figure, ...]:
    """Cut a figure by its panels or its rows.

    Parameters
    ----------
    figure : Figure
        As data.
    ratio : float
        Its height over its width.
    most : float
        Largest such ratio of a piece, about.

    Returns
    -------
    tuple of Figure
        Pieces of about equal height, in order, on one scale; the figure alone where nothing can be cut.
    """
    n = math.ceil(ratio / most)
    if figure.kind == "multiples":
        parts = [replace(figure, panels=tuple(part)) for part in _parts(figure.panels, n)]
    elif figure.kind == "heatmap":
        whole = replace(figure, limits=figure.limits or _ends(figure, least=0.0))
        parts = [replace(whole, series=tuple(part)) for part in _parts(figure.series, n)]
    elif figure.kind in _ROWED:
        whole = figure if figure.kind == "stacked" else replace(figure, limits=figure.limits or _ends(figure))
        parts = [_rows(whole, set(part)) for part in _parts(categories(figure), n)]
    else:
        parts = [figure]
    return tuple(replace(part, id=f"{figure.id}-part-{place}") for place, part in enumerate(parts, start=1))


def _parts(items: Sequence[T], n: int) -> list[Sequence[T]]:
    """Return at most ``n`` runs of items, as long as each other or one longer; none is empty."""
    n = max(1, min(n, len(items)))
    bounds = [round(place * len(items) / n) for place in range(n + 1)]
    return [items[start:end] for start, end in itertools.pairwise(bounds)]


def _ends(figure: Figure, least: float = math.inf) -> tuple[float, float] | None:
    """Return the ends of all that is drawn, so that pieces compare."""
    drawn = [value for one in figure.series for value in (*one.y, *one.low, *one.high) if value is not None]
    drawn += [mark.at for mark in figure.marks]
    if not drawn or min(drawn) == max(drawn):
        return None
    room = 0.0 if math.isfinite(least) else 0.03 * (max(drawn) - min(drawn))
    return min(least, *drawn) - room, max(drawn) + room


def _rows(figure: Figure, kept: set[str]) -> Figure:
    def cut(series: Series) -> Series:
        rows = [n for n, name in enumerate(series.x) if str(name) in kept]
        columns: dict[str, Any] = {
            name: tuple(cells[row] for row in rows) if (cells := getattr(series, name)) else ()
            for name in ("x", "y", "low", "high", "ticked")
        }
        return replace(series, **columns)

    return replace(figure, series=tuple(cut(series) for series in figure.series))
