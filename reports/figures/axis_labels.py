"""What stands on axes: names cut or wrapped to the width there is, ticks, numbers as reports write them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.ticker import FuncFormatter, MaxNLocator

from qloc.reports import result_text
from qloc.reports.document import AxisKind, Figure

CHARACTER: Final = 7.2
"""Width of a character of a label, in CSS pixels."""
_STEPS: Final = (1, 2, 2.5, 5, 10)
"""Between ticks, times a power of ten."""


def categories(figure: Figure) -> list[str]:
    """Every category of a figure once, in the order of first appearance."""
    return list(dict.fromkeys(str(name) for series in figure.series for name in series.x))


def floats(values: Sequence[Any]) -> list[float]:
    """Numbers as Matplotlib takes them: NaN for what is absent."""
    return [math.nan if value is None else float(value) for value in values]


def padded(limits: tuple[float, float]) -> tuple[float, float]:
    """Room for a marker that sits on an end of the axis."""
    margin = 0.015 * (limits[1] - limits[0])
    return limits[0] - margin, limits[1] + margin


def ticks(n: int, whole: bool) -> MaxNLocator:
    """Up to so many ticks, at round numbers."""
    return MaxNLocator(nbins=n, steps=_STEPS, integer=whole)


def written(axis: AxisKind) -> FuncFormatter:
    """Numbers on an axis, as reports write them."""

    def write(value: float, _place: int | None) -> str:
        return result_text.on_axis(0.0 if abs(value) < 1e-12 else value, axis)

    return FuncFormatter(write)


def wrapped(label: str, width: int) -> str:
    """A label on as many lines as it needs, three at most."""
    lines = textwrap.wrap(label, max(12, int(0.75 * width / CHARACTER)), max_lines=3, placeholder=" …")
    return "\n".join(lines)


def clipped(name: str, width: float) -> str:
    """A label no wider than about a third of the figure."""
    room = max(8, int(0.34 * width / CHARACTER))
    line = " ".join(name.split())
    return line if len(line) <= room else line[: room - 1].rstrip() + "…"
