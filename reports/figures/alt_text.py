"""A figure in words, for whoever cannot see it: its extremes, or where its lines begin and end."""

from __future__ import annotations

from qloc.reports.document import Figure, Series
from qloc.reports.result_text import on_axis
from qloc.text.rounding import available

_KINDS = {
    "dots": "Dot plot",
    "bars": "Bar chart",
    "stacked": "Stacked bar chart",
    "lines": "Line chart",
    "profile": "Bar chart by position",
    "heatmap": "Heatmap",
    "forest": "Forest plot",
    "violins": "Violin plot",
    "multiples": "Small charts",
}
_TOLD = 4


def in_words(figure: Figure) -> str:
    """Say a figure in words: its alternative text.

    Parameters
    ----------
    figure : Figure
        As data.

    Returns
    -------
    str
        Kind, title, and the extremes or ends of the first few series.
    """
    head = f"{_KINDS[figure.kind]}: {figure.title.rstrip('.')}."
    if figure.kind == "heatmap":
        return f"{head} {_cells(figure)}"
    if figure.kind == "multiples":
        shown = [panel for panel in figure.panels[:_TOLD] if panel.series]
        told = [f"{panel.title}: {_panel(panel)}" for panel in shown]
        return " ".join([head, *told])
    named = len(figure.series) > 1 or not figure.value_label
    told = [
        f"{series.name}: {_told(series, figure)}" if named else _capital(_told(series, figure))
        for series in figure.series[:_TOLD]
    ]
    return " ".join([head, *told])


def _panel(panel: Figure) -> str:
    if panel.kind == "heatmap":
        return _cells(panel)
    drawn = [one for one in panel.series if one.x]
    told = [f"{one.name}: {_told(one, panel)}" for one in drawn[:_TOLD]]
    return " ".join(told) if len(panel.series) > 1 else _told(drawn[0], panel)


def _told(series: Series, figure: Figure) -> str:
    drawn = [(x, float(y)) for x, y in zip(series.x, series.y, strict=True) if y is not None and available(y)]
    if not drawn:
        return "nothing to draw."
    if figure.kind == "lines":
        (x_first, first), (x_last, last) = drawn[0], drawn[-1]
        return (
            f"from {on_axis(first, figure.axis)} at {_plain(x_first)} to {on_axis(last, figure.axis)} "
            f"at {_plain(x_last)}."
        )
    top, bottom = max(drawn, key=lambda pair: pair[1]), min(drawn, key=lambda pair: pair[1])
    where = "layer " if figure.kind == "profile" and figure.other_label.lower() == "layer" else ""
    high, low = on_axis(top[1], figure.axis), on_axis(bottom[1], figure.axis)
    highest = f"highest {where}{_plain(top[0])} at {high}"
    return f"{highest}, lowest {where}{_plain(bottom[0])} at {low}, of {len(drawn)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cells(figure: Figure) -> str:
    values = [float(y) for series in figure.series for y in series.y if y is not None and available(y)]
    n_columns = max((len(series.x) for series in figure.series), default=0)
    size = f"{len(figure.series)} rows, {n_columns} columns"
    return f"{size}, from {on_axis(min(values), figure.axis)} to {on_axis(max(values), figure.axis)}."


def _plain(x: object) -> str:
    return f"{x:g}" if isinstance(x, float) else str(x)
