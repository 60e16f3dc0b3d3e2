"""How large a figure is, where its panels and its legend stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.gridspec import SubplotSpec
from matplotlib.transforms import ScaledTranslation

from qloc.reports.document import Figure, FigureKind
from qloc.reports.figures.axis_labels import CHARACTER, LINE, categories, folded, n_lines
from qloc.reports.figures.plots import BANDS, DRAWERS, crowded, layers_of, named_twice, ramp, scale_title
from qloc.reports.figures.row_plots import forest_height

ROW, ROW_OF_MANY, MANY = 24, 17, 15
"""Height of one row of a categorical figure, in CSS pixels; of one in a figure of more than so many rows."""
OWN_LABELS: Final = 0.45
"""Share of a panel that the names of its own rows may take."""
SCALE: Final = 54
"""Height of a heatmap's scale with its title and its ends."""
ROWED: Final = ("dots", "bars", "stacked", "violins")
"""Kinds with a row for each category."""


def draw(canvas: Canvas, figure: Figure, width: int) -> None:
    """Draw a figure's panels, axes and legend.

    Parameters
    ----------
    canvas : Canvas
        Matplotlib's figure, empty.
    figure : Figure
        As data.
    width : int
        In CSS pixels.
    """
    if figure.kind == "multiples":
        _multiples(canvas, figure, width)
        return
    if figure.kind == "heatmap":
        _heatmap(canvas, figure, width)
        return
    canvas.set_size_inches(width / 72, (height_of(figure, width) + _legend_height(figure, width)) / 72)
    axes = canvas.add_subplot()
    DRAWERS[figure.kind](axes, figure, width)
    if _legend_height(figure, width):
        _legend(canvas, axes, figure, width)


def _heatmap(canvas: Canvas, figure: Figure, width: int) -> None:
    """A heatmap below its scale, which says what light and dark mean, on a page of either kind."""
    canvas.set_size_inches(width / 72, (height_of(figure, width) + _scale_height(figure, width)) / 72)
    _scaled(canvas, canvas.add_gridspec(1, 1)[0, 0], figure, width)


def _scaled(canvas: Canvas, place: SubplotSpec, figure: Figure, width: int) -> None:
    """A heatmap and its scale; of one among several the title says what the scale is of."""
    shares = {"height_ratios": (10, height_of(figure, width)), "width_ratios": (min(1.0, 220 / width), 1)}
    grid = place.subgridspec(2, 2, **shares)
    DRAWERS["heatmap"](canvas.add_subplot(grid[1, :]), figure, width)
    ramp(canvas.add_subplot(grid[0, 0]), figure, width)


def _scale_height(figure: Figure, width: int) -> float:
    """Of a heatmap's scale, in CSS pixels; 0 of other figures."""
    if figure.kind != "heatmap":
        return 0
    return SCALE + LINE * scale_title(figure, width).count("\n")


def height_of(figure: Figure, width: int) -> float:
    """Return how high a figure is, without its legend.

    Parameters
    ----------
    figure : Figure
        As data; not one of several panels.
    width : int
        In CSS pixels.

    Returns
    -------
    float
        In CSS pixels.
    """
    if figure.kind in ("lines", "profile"):
        return min(300, 0.62 * width) + 46
    if figure.kind == "heatmap":
        longest = max(map(len, categories(figure)), default=0)
        upright = min(longest * CHARACTER, 0.4 * width) if crowded(figure, width) else 0
        bands = BANDS if layers_of(figure) else 0
        row = _row(figure, [one.name for one in figure.series], width)
        ends = 2 if named_twice(figure) else 1
        return len(figure.series) * row + (52 + upright) * ends + bands
    if figure.kind == "forest":
        return forest_height(figure, width)
    if figure.kind == "violins":
        return len(categories(figure)) * max(34, _row(figure, categories(figure), width)) + 52
    dodge = 1 + 0.4 * (len(figure.series) - 1) if figure.kind in ("dots", "bars") else 1
    names = categories(figure)
    return len(names) * _row(figure, names, width) * dodge + 52


def _row(figure: Figure, names: Sequence[str], width: int) -> int:
    """The height of a row, in CSS pixels, with room for the lines of its label."""
    lines = n_lines(names, width)
    least = ROW if figure.kind == "heatmap" or len(names) <= MANY else ROW_OF_MANY
    return max(least, LINE * lines + 4) if lines > 1 else least


def _multiples(canvas: Canvas, figure: Figure, width: int) -> None:
    fullest = max(range(len(figure.panels)), key=lambda n: len(figure.panels[n].series))
    names = [one.name for one in figure.panels[fullest].series]
    shared = all(one.name == names[n] for panel in figure.panels for n, one in enumerate(panel.series))
    across = _columns(figure, width, shared)
    rows = [figure.panels[n : n + across] for n in range(0, len(figure.panels), across)]
    above = 0 if shared else max(_legend_height(panel, width // across) for panel in figure.panels)
    lines = [max(_title(panel, width / across).count("\n") for panel in row) for row in rows]
    heights = [
        max(height_of(panel, width // across) + _scale_height(panel, width) for panel in row)
        + 24 + above + LINE * more
        for row, more in zip(rows, lines, strict=True)
    ]  # fmt: skip
    top = _legend_height(figure.panels[fullest], width) if shared else 0
    canvas.set_size_inches(width / 72, (sum(heights) + top) / 72)
    grid = canvas.add_gridspec(len(rows), across, height_ratios=heights)
    for place, panel in enumerate(figure.panels):
        if panel.kind == "heatmap":
            _scaled(canvas, grid[place // across, place % across], panel, width)
            continue
        axes = canvas.add_subplot(grid[place // across, place % across])
        DRAWERS[panel.kind](axes, panel, width // across)
        axes.set_title(_title(panel, width / across), pad=6 + above)
        if above:
            _own_legend(canvas, axes, panel, width // across, above)
    if len(canvas.axes) == len(figure.panels):
        _thin_out(canvas, figure, width, across)
    if top:
        _legend(canvas, canvas.axes[fullest], figure.panels[fullest], width)


def _title(panel: Figure, width: float) -> str:
    """The title of a panel in lines: names of rows leave it less room."""
    return folded(panel.title, width, 0.6 if panel.kind in ROWED else 0.8)


def _columns(figure: Figure, width: int, shared: bool) -> int:
    """How many panels stand beside each other: as many as have room, in rows as even as can be."""
    narrowest = _narrowest(figure.panels[0].kind, width, shared)
    if figure.panels[0].kind in ROWED and not _alike(figure):
        longest = max(len(name) for panel in figure.panels for name in categories(panel))
        narrowest = min(width, max(narrowest, int(longest * CHARACTER / OWN_LABELS)))
    n = len(figure.panels)
    n_rows = math.ceil(n / min(n, width // narrowest))
    return math.ceil(n / n_rows)


def _alike(figure: Figure) -> bool:
    """Whether all panels have the same rows, which are then named once."""
    return len({tuple(categories(panel)) for panel in figure.panels}) == 1


def _narrowest(kind: FigureKind, width: int, shared: bool) -> int:
    """The least width of a panel, in CSS pixels; one with a legend of its own needs room for it."""
    if kind == "heatmap":
        return width
    if not shared and kind in ("lines", "profile"):
        return 330
    return 160 if kind in ("lines", "profile") and width < 500 else 210


def _thin_out(canvas: Canvas, figure: Figure, width: int, across: int) -> None:
    """What panels have in common is said once: names at the left, the axis at the bottom."""
    alike = _alike(figure)
    for place, (panel, axes) in enumerate(zip(figure.panels, canvas.axes, strict=True)):
        if panel.kind in ("lines", "profile") and place + across < len(figure.panels):
            axes.set_xlabel("")
        elif panel.kind in ROWED and alike:
            names = categories(panel)
            labels = [folded(name, width) if place % across == 0 else "" for name in names]
            axes.set_yticks(range(len(names)), labels)
        elif panel.kind in ROWED:
            names = categories(panel)
            axes.set_yticks(range(len(names)), [folded(name, width / across, OWN_LABELS) for name in names])


def _across(figure: Figure, width: int) -> int:
    """How many names of a legend stand beside each other."""
    widest = max(len(one.name) for one in figure.series) * CHARACTER + 45
    return max(1, min(len(figure.series), int(width // widest)))


def _legend_height(figure: Figure, width: int) -> int:
    """In CSS pixels; 0 where one series needs no legend, and in heatmaps, whose rows are named."""
    if len(figure.series) < 2 or figure.kind == "heatmap":
        return 0
    return 8 + 18 * math.ceil(len(figure.series) / _across(figure, width))


def _legend(canvas: Canvas, axes: Axes, figure: Figure, width: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    canvas.legend(handles, names, loc="outside upper left", ncols=_across(figure, width))


def _own_legend(canvas: Canvas, axes: Axes, panel: Figure, width: int, height: int) -> None:
    """A legend between a panel and its title."""
    raised = axes.transAxes + ScaledTranslation(0, height / 72, canvas.dpi_scale_trans)
    columns = _across(panel, width)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1), bbox_transform=raised, ncols=columns)
