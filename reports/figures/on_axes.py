"""A figure of a report on axes of Matplotlib: by its recipe and drawer, in the colours of a light page."""

from __future__ import annotations

import warnings
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes

from qloc.errors import InputError, message
from qloc.reports.document import Figure
from qloc.reports.figures import palette
from qloc.reports.figures.panel_layout import height_of
from qloc.reports.figures.plots import DRAWERS
from qloc.reports.figures.svg import INKS, STYLE, WIDE


def on_axes(figure: Figure, ax: Any = None, panel: str = "") -> Axes:
    """Draw a figure, or one panel of it.

    Parameters
    ----------
    figure : Figure
        As data.
    ax : Axes, optional
        Where it is drawn; a new figure of pyplot where it is not given.
    panel : str, default ""
        Title of a panel, of a figure that has several; the first where it is empty.

    Returns
    -------
    Axes
        With the figure on them.

    Raises
    ------
    InputError
        The figure has no panel of this title, or ``ax`` is no Axes.
    """
    if ax is not None and not isinstance(ax, Axes):
        rule, action = "a matplotlib Axes, or None", "Give one of those that plt.subplots returns"
        raise InputError(message("ax", type(ax).__name__, rule, "qloc.plot", action))
    axes: Axes | None = ax
    chosen = _panel(figure, panel)
    colours = {**palette.LIGHT}
    inks = {name: colours[role] for name, role in INKS.items()}
    style: list[Any] = ["default", {**STYLE, **inks, "figure.facecolor": colours["paper"]}]
    with matplotlib.style.context(style), palette.drawn_in(colours), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if axes is None:
            from matplotlib import pyplot

            size = (WIDE / 72, height_of(chosen, WIDE) / 72 + 0.5)
            axes = pyplot.subplots(figsize=size, layout="constrained")[1]
        DRAWERS[chosen.kind](axes, chosen, WIDE)
        if len(chosen.series) > 1 and chosen.kind != "heatmap":
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3)
    return axes


def _panel(figure: Figure, title: str) -> Figure:
    if figure.kind != "multiples":
        return figure
    titles = [panel.title for panel in figure.panels]
    if title and title not in titles:
        rule = f"one of {', '.join(titles)}"
        raise InputError(message("panel", title, rule, figure.title, "Choose one, or none for the first"))
    return figure.panels[titles.index(title) if title else 0]
