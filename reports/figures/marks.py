"""Mark, colour and dash of each series: what is as published is gray and hollow, in every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qloc.reports.document import Figure
from qloc.reports.figures import palette
from qloc.reports.published import is_published


@dataclass(frozen=True, kw_only=True)
class SeriesMark:
    """How a series is drawn.

    Attributes
    ----------
    colour, face : str
        Of its lines, and of the inside of its markers.
    marker : str
        Matplotlib's.
    dash : object
        Matplotlib's style of line.
    hollow : bool
        Whether it is as published.
    """

    colour: str
    face: str
    marker: str
    dash: Any
    hollow: bool


def mark_of(figure: Figure, n: int) -> SeriesMark:
    """Return how a series is drawn.

    Parameters
    ----------
    figure : Figure
        As data.
    n : int
        Place of the series; those as published take no colour of the palette.

    Returns
    -------
    SeriesMark
        Gray and hollow where its name says "as published".
    """
    if is_published(figure.series[n].name):
        return published_mark()
    place = sum(not is_published(series.name) for series in figure.series[:n])
    colour = palette.series(place)
    return SeriesMark(
        colour=colour,
        face=colour,
        marker=palette.MARKERS[place % palette.N_SERIES],
        dash=palette.DASHES[place % palette.N_SERIES],
        hollow=False,
    )


def published_mark() -> SeriesMark:
    """Return how what is as published is drawn.

    Returns
    -------
    SeriesMark
        A gray ring, and a gray line of dots.
    """
    return SeriesMark(
        colour=palette.colour("published"),
        face=palette.colour("paper"),
        marker="o",
        dash=(0, (1, 1.4)),
        hollow=True,
    )
