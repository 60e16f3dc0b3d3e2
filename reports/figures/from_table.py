"""From a table to a figure, by a recipe: which rows, in which order, as which series and panels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from qloc.analysis.results import Table
from qloc.reports.document import Figure, Mark, Series, unique
from qloc.reports.figures import table_reshaping
from qloc.reports.figures.alt_text import in_words
from qloc.reports.figures.palette import N_SERIES
from qloc.reports.figures.table_recipes import FURTHER, RECIPES, Recipe, recipe_of
from qloc.reports.figures.table_words import heading, word
from qloc.text.rounding import ABSENT, available

N_PANELS: Final = 12

_NUMERIC: Final = ("lines", "profile")


def figures(table: Table, id: str) -> tuple[Figure, ...]:
    """Draw a table by every recipe that it has.

    Parameters
    ----------
    table : Table
        Of the analysis.
    id : str
        Anchor of the first figure, and beginning of the others'.

    Returns
    -------
    tuple of Figure
        Without those that have too little to draw.
    """
    further = (figure(table, f"{id}-{name}", name) for name in FURTHER.get(table.name, ()))
    drawn = [figure(table, id), *(one for one in further if one and _says_more(one))]
    return tuple(one for one in drawn if one)


def _says_more(further: Figure) -> bool:
    """Dots are drawn once more for their intervals alone."""
    return further.kind != "dots" or any(series.low for series in further.series)


def figure(table: Table, id: str, recipe_name: str = "") -> Figure | None:
    """Draw a table by its recipe.

    Parameters
    ----------
    table : Table
        Of the analysis.
    id : str
        Anchor of the figure.
    recipe_name : str, default ""
        A key of ``RECIPES``; that of the table's name where it is empty.

    Returns
    -------
    Figure or None
        The figure as data; None where the table has no recipe, or too little to draw.
    """
    recipe = RECIPES[recipe_name] if recipe_name else recipe_of(table)
    if recipe is None:
        return None
    table = recipe.prepare(table) if recipe.prepare else table
    if recipe.over not in table.columns:
        return None
    if recipe.panel in table.columns or recipe.facets:
        drawn = _multiples(table, recipe, id)
    else:
        drawn = _first_panels(_single(table, recipe, id))
    return replace(drawn, alt=in_words(drawn)) if drawn else None


def _single(table: Table, recipe: Recipe, id: str) -> Figure | None:
    values = [name for name in recipe.values if any(map(available, table.columns.get(name, ())))]
    if not values:
        return None
    if recipe.kind != "heatmap":
        table = table_reshaping.drawable(table, values)
    series = tuple(_ordered(list(_series(table, recipe, values)), recipe))
    if max(len(one.x) for one in series) < 2:
        return None
    numeric = recipe.kind in _NUMERIC
    alone = heading(table, values[0]) if len(series) == 1 else ""
    marks = () if recipe.reference is None else (Mark(at=recipe.reference, label=""),)
    made = Figure(
        kind=recipe.kind, id=id, title=table.title + recipe.title, alt="", series=series, source=table.name,
        caption=_caption(table, recipe, _rows_cut(table, recipe)), axis=recipe.axis, limits=recipe.limits,
        value_label=recipe.value_label or alone, other_label=heading(table, recipe.over) if numeric else "",
        marks=marks,
    )  # fmt: skip
    return made if recipe.kind == "heatmap" or len(series) <= N_SERIES else _one_each(made)


def _caption(table: Table, recipe: Recipe, *left: str) -> str:
    return " ".join(filter(None, (recipe.caption, table.note, *left)))


def _rows_cut(table: Table, recipe: Recipe) -> str:
    """Say so where a figure has not every row."""
    if recipe.kind in _NUMERIC:
        return ""
    values = recipe.values or tuple(name for _, names, _ in recipe.facets for name in names)
    there = [name for name in values if name in table.columns]
    if there and recipe.kind != "heatmap":
        table = table_reshaping.drawable(table, there)
    n = len(unique(map(str, table.columns[recipe.over])))
    which = "highest" if recipe.order == "down" else "first"
    return (
        f"The {recipe.n_rows} {which} of {n} rows are drawn; the table has all." if n > recipe.n_rows else ""
    )


def _one_each(crowded: Figure) -> Figure:
    """More series than anyone tells apart: a panel for each."""
    panels = tuple(
        replace(crowded, id=f"{crowded.id}-{place}", title=one.name, series=(one,), caption="")
        for place, one in enumerate(crowded.series)
    )
    return replace(crowded, kind="multiples", series=(), panels=panels)


def _first_panels(drawn: Figure | None) -> Figure | None:
    """A figure with no more panels than can be read, on one scale, and a word about the others."""
    if drawn is None or not drawn.panels:
        return drawn
    panels = _alike(drawn.panels[:N_PANELS])
    caption = " ".join(filter(None, (drawn.caption, _panels_cut(len(panels), len(drawn.panels)))))
    return replace(drawn, panels=panels, caption=caption)


def _in_equal_shares(groups: Sequence[list[Figure]]) -> list[list[Figure]]:
    """The first panels of each group, of all together no more than can be read."""
    rounds = sorted((place, number) for number, group in enumerate(groups) for place in range(len(group)))
    share = Counter(number for _, number in rounds[:N_PANELS])
    return [group[: share[number]] for number, group in enumerate(groups)]


def _multiples(table: Table, recipe: Recipe, id: str) -> Figure | None:
    parts = list(_parts(table, recipe))
    made = [(_single(part, one, f"{id}-{n}"), title) for n, (title, part, one) in enumerate(parts)]
    every = [_titled(panel, title) if panel else [] for panel, title in made]
    chosen = _in_equal_shares(every)
    if not any(chosen):
        return None
    if recipe.facets:  # each measure on a scale of its own
        panels = [panel for some in chosen for panel in (_alike(some) if len(some) > 1 else some)]
    else:
        panels = list(_alike(_in_one_order([panel for some in chosen for panel in some])))
    n = sum(len(some) or not recipe.facets for some in every)  # measures without values are no panels
    drawn = [part for (_, part, _), some in zip(parts, chosen, strict=True) if some]
    cut = next(filter(None, (_rows_cut(part, recipe) for part in drawn)), "")
    return Figure(
        kind="multiples", id=id, title=table.title + recipe.title, alt="",
        caption=_caption(table, recipe, _panels_cut(len(panels), n), cut),
        panels=tuple(panels),
        source=table.name, value_label=panels[0].value_label, axis=recipe.axis,
    )  # fmt: skip


def _titled(panel: Figure, title: str) -> list[Figure]:
    """A panel with its title; one of too many series is panels itself."""
    if panel.kind == "multiples":
        return [replace(part, title=f"{title}: {part.title}", caption="") for part in panel.panels]
    label = panel.value_label or title if panel.kind == "heatmap" else panel.value_label
    return [replace(panel, title=title, caption="", value_label=label)]


def _in_one_order(panels: Sequence[Figure]) -> list[Figure]:
    """The panels with the same series in all, empty where one has none: a colour is one thing in all."""
    fullest = max(panels, key=lambda panel: len(panel.series))
    names = list(dict.fromkeys(one.name for panel in (fullest, *panels) for one in panel.series))
    if fullest.kind == "heatmap" or not 1 < len(names) <= N_SERIES:
        return list(panels)
    filled = []
    for panel in panels:
        own = {one.name: one for one in panel.series}
        series = tuple(own.get(name) or Series(name=name, x=(), y=()) for name in names)
        label = "" if panel.value_label in own else panel.value_label  # that of its only series
        filled.append(replace(panel, series=series, value_label=label))
    return filled


def _panels_cut(n_drawn: int, n: int) -> str:
    """Say so where a figure has not every panel: those behind the first, and those of a single row."""
    return f"{n_drawn} of {n} panels are drawn; the table has all." if n > n_drawn else ""


def _parts(table: Table, recipe: Recipe) -> Iterator[tuple[str, Table, Recipe]]:
    """Title, rows and recipe of each panel."""
    if recipe.facets:
        for title, values, axis in recipe.facets:
            limits = recipe.limits if axis == recipe.axis else None
            yield title, table, replace(recipe, values=values, axis=axis, limits=limits)
    else:
        for title in unique(map(str, table.columns[recipe.panel])):
            yield str(word(title, recipe.panel)), table_reshaping.where(table, recipe.panel, title), recipe


def _alike(panels: Sequence[Figure]) -> tuple[Figure, ...]:
    """The panels on one scale, so that they compare."""
    drawn = [
        value
        for panel in panels
        for one in panel.series
        for value in (*one.y, *one.low, *one.high)
        if value is not None
    ]
    ends = (min(drawn), max(drawn)) if len(set(drawn)) > 1 else None
    return tuple(replace(panel, limits=panel.limits or ends) for panel in panels)


def _series(table: Table, recipe: Recipe, values: Sequence[str]) -> Iterator[Series]:
    """Wide tables give a series for each column of values, long ones for each value of ``split``."""
    if recipe.split in table.columns:
        for name in unique(map(str, table.columns[recipe.split])):
            part = table_reshaping.where(table, recipe.split, name)
            yield replace(_one(part, recipe, values[0], alone=True), name=str(word(name, recipe.split)))
    else:
        for column in values:
            yield replace(_one(table, recipe, column, alone=len(values) == 1), name=heading(table, column))


def _one(table: Table, recipe: Recipe, name: str, *, alone: bool) -> Series:
    low, high = _numbers(table, f"{name}_low"), _numbers(table, f"{name}_high")
    if alone and not low:
        low, high = _numbers(table, "low"), _numbers(table, "high")
    cells = table.columns[recipe.over]
    bounded = any(value is not None for value in low) and len(low) == len(high)
    return Series(
        name=name,
        x=cells
        if recipe.kind in _NUMERIC
        else tuple(ABSENT if x is None else word(x, recipe.over) for x in cells),
        y=_numbers(table, name),
        low=low if bounded else (),
        high=high if bounded else (),
        ticked=tuple(bool(cell) for cell in table.columns.get(recipe.ticked, ())),
    )


def _numbers(table: Table, name: str) -> tuple[float | None, ...]:
    cells = table.columns.get(name, ())
    return tuple(float(cell) if available(cell) else None for cell in cells)  # type: ignore[arg-type]


def _ordered(series: Sequence[Series], recipe: Recipe) -> Iterator[Series]:
    """Rows by the first series' values where the recipe wants it, and not more than can be read."""
    if recipe.kind in _NUMERIC:
        for one in series:
            yield _taken(one, [n for n, x in enumerate(one.x) if available(x)])
        return
    names = unique(str(x) for one in series for x in one.x)
    if recipe.order == "down":
        value = {str(x): y for x, y in zip(series[0].x, series[0].y, strict=True) if y is not None}
        names = tuple(sorted(names, key=lambda name: (name not in value, -value.get(name, 0.0))))
    place = {name: n for n, name in enumerate(names[: recipe.n_rows])}
    for one in series:
        known = [n for n, name in enumerate(one.x) if str(name) in place]
        rows = sorted((place[str(one.x[n])], n) for n in known)
        yield _taken(one, [n for _, n in rows])


def _taken(series: Series, rows: Sequence[int]) -> Series:
    y, low, high = (
        tuple(cells[row] for row in rows) if cells else () for cells in (series.y, series.low, series.high)
    )
    ticked = tuple(series.ticked[row] for row in rows) if series.ticked else ()
    return replace(series, x=tuple(series.x[row] for row in rows), y=y, low=low, high=high, ticked=ticked)
