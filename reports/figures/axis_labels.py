"""What stands on axes: names cut or wrapped to the width there is, ticks, numbers as reports write them."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.ticker import FuncFormatter, MaxNLocator

from qloc.reports import result_text
from qloc.reports.document import AxisKind, Figure
from qloc.text.rounding import DIGITS, number

CHARACTER: Final = 7.2
"""Width of a character of a label, in CSS pixels."""
LINE: Final = 15
"""Height of a line of a label of several lines, in CSS pixels."""
_JOIN: Final = "\N{NO-BREAK SPACE}"
_HELD: Final = re.compile(r"\S+ = \S+|\btop b\b")
"""What no line may break: "CAS, β₂ = 0" has its value on the line of its sign."""
_STEPS: Final = (1, 2, 2.5, 5, 10)
"""Between ticks, times a power of ten."""


def categories(figure: Figure) -> list[str]:
    """Return every category of a figure once, in the order of first appearance.

    Parameters
    ----------
    figure : Figure
        As data.

    Returns
    -------
    list of str
        Labels, not cut or wrapped.
    """
    return list(dict.fromkeys(str(name) for series in figure.series for name in series.x))


def floats(values: Sequence[Any]) -> list[float]:
    """Return numbers as Matplotlib takes them.

    Parameters
    ----------
    values : sequence of Any
        None stands for what is absent.

    Returns
    -------
    list of float
        NaN for what is absent.
    """
    return [math.nan if value is None else float(value) for value in values]


def padded(limits: tuple[float, float]) -> tuple[float, float]:
    """Widen limits so that a marker on an end of the axis is not cut.

    Parameters
    ----------
    limits : tuple of (float, float)
        Ends of the axis.

    Returns
    -------
    tuple of (float, float)
        Wider by 1.5% of their distance on either side.
    """
    margin = 0.015 * (limits[1] - limits[0])
    return limits[0] - margin, limits[1] + margin


def ticks(n: int, whole: bool) -> MaxNLocator:
    """Place up to so many ticks at round numbers.

    Parameters
    ----------
    n : int
        Most ticks.
    whole : bool
        Whether they stand at whole numbers only.

    Returns
    -------
    MaxNLocator
        For an axis of Matplotlib.
    """
    return MaxNLocator(nbins=n, steps=_STEPS, integer=whole)


def written(axis: AxisKind) -> FuncFormatter:
    """Write numbers on an axis as reports write them.

    Parameters
    ----------
    axis : AxisKind
        What the axis holds.

    Returns
    -------
    FuncFormatter
        For an axis of Matplotlib.
    """

    def write(value: float, _place: int | None) -> str:
        tick = round(value, 12) + 0.0  # ticks are sums: 2% is 0.020000000000000004
        return result_text.on_axis(tick, axis) if axis == "count" else _exactly(tick, axis)

    return FuncFormatter(write)


def _exactly(tick: float, axis: AxisKind) -> str:
    """Write a tick with as many digits as tell it from its neighbours: 12.5% is not 12%."""
    value = 100 * tick if axis == "share" else tick
    digits = next((n for n in range(DIGITS, 12) if math.isclose(float(f"{value:.{n}g}"), value)), DIGITS)
    return number(value, digits) + ("%" if axis == "share" else "")


def wrapped(label: str, width: int) -> str:
    """Break a label into as many lines as it needs, three at most.

    Parameters
    ----------
    label : str
        One line.
    width : int
        Of the figure, in CSS pixels.

    Returns
    -------
    str
        Lines, parted by line feeds; an ellipsis stands for what has no room.
    """
    lines = textwrap.wrap(label, max(12, int(0.75 * width / CHARACTER)), max_lines=3, placeholder=" …")
    return "\n".join(lines)


def clipped(name: str, width: float, share: float = 0.34) -> str:
    """Cut a label to a share of the figure, a third unless given.

    Parameters
    ----------
    name : str
        One line.
    width : float
        Of the figure, in CSS pixels.
    share : float, default 0.34
        Share of the width that the label may take.

    Returns
    -------
    str
        The label, with an ellipsis where it was cut.
    """
    room = max(8, int(share * width / CHARACTER))
    line = " ".join(name.split())
    return line if len(line) <= room else line[: room - 1].rstrip() + "…"


def folded(name: str, width: float, share: float = 0.34) -> str:
    """Break a label into lines of a share of the figure, three at most.

    Parameters
    ----------
    name : str
        One line.
    width : float
        Of the figure, in CSS pixels.
    share : float, default 0.34
        Share of the width that a line may take.

    Returns
    -------
    str
        Lines, parted by line feeds; an ellipsis stands for what has no room.
    """
    room = max(8, int(share * width / CHARACTER))
    line = _HELD.sub(lambda held: held[0].replace(" ", _JOIN), " ".join(name.split()))
    return "\n".join(textwrap.wrap(line, room, max_lines=3, placeholder=" …")).replace(_JOIN, " ") or " "


def n_lines(names: Sequence[str], width: float, share: float = 0.34) -> int:
    """Return how many lines the longest of some folded labels takes.

    Parameters
    ----------
    names : sequence of str
        One line each.
    width : float
        Of the figure, in CSS pixels.
    share : float, default 0.34
        As for :func:`folded`.

    Returns
    -------
    int
        From 1 to 3.
    """
    return max((folded(name, width, share).count("\n") + 1 for name in names), default=1)
