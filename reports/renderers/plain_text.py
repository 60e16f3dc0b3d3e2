"""Results as plain text, for a terminal: a comparison of models, and a published study's tables."""

from __future__ import annotations

from typing import Final

from qloc.analysis.results import StudyResult, Table
from qloc.text.rounding import Cell, fixed
from qloc.text.tables import paragraph, table

_SHORT: Final = {
    "kappa": "κ",
    "dice": "D",
    "facts": "facts",
    "neurons": "neurons",
    "set_size": "|N|",
    "p_adjusted": "adjusted p",
    "rank_correlation": "Spearman's ρ",
}
"""Headings that fit a terminal; the report has whole ones."""


def comparison_text(result: StudyResult) -> str:
    """Write a comparison of models as a page of text.

    Parameters
    ----------
    result : StudyResult
        What the comparison of several stores gave.

    Returns
    -------
    str
        The tables of models and of their differences, each test as a sentence, and the notes.
    """
    lines = [result.title, f"  {result.facts}"]
    for question in result.questions:
        tables = [question.table(name) for name in ("models", "model_differences")]
        for shown in filter(None, tables):
            lines += ["", shown.title, table_text(shown)]
        lines += ["", *(paragraph(test.sentence()) for test in question.tests)]
    return "\n".join([*lines, "", *(paragraph(note) for note in result.notes)])


def reproduction_text(result: StudyResult) -> str:
    """Write the tables of a published study as a page of text.

    Parameters
    ----------
    result : StudyResult
        What the reproduction gave.

    Returns
    -------
    str
        Each question with its answer, its tables and how they were made, and the notes.
    """
    lines = [result.title, f"  {result.facts}"]
    for question in result.questions:
        lines += ["", question.title, paragraph(question.answer)]
        lines += [f"\n{table_text(shown)}" for shown in question.tables]
        lines += [paragraph(question.method)] if question.method else []
    return "\n".join([*lines, "", *(paragraph(note) for note in result.notes)])


def table_text(shown: Table) -> str:
    """Write a table under its headings, its intervals joined: ``0.310 [0.25, 0.37]``.

    Parameters
    ----------
    shown : Table
        Columns ``NAME_low`` and ``NAME_high`` are the interval of column ``NAME``.

    Returns
    -------
    str
        A line of headings and a line for each row.
    """
    names = [name for name in shown.columns if not name.endswith(("_low", "_high"))]
    heads = [_short(shown, name) for name in names]
    columns = [
        [_with_interval(shown, name, row) for row in range(len(shown.columns[name]))] for name in names
    ]
    return table(heads, list(zip(*columns, strict=True)))


def _short(shown: Table, name: str) -> str:
    label = shown.labels.get(name) or name.replace("_", " ")
    return _SHORT.get(name) or label.removesuffix(" by CS2")


def _with_interval(shown: Table, name: str, row: int) -> Cell:
    value = shown.columns[name][row]
    if f"{name}_low" not in shown.columns or not isinstance(value, int | float):
        return value
    low, high = (shown.columns[f"{name}_{end}"][row] for end in ("low", "high"))
    return fixed(value, 3) if low is None else f"{fixed(value, 3)} [{fixed(low, 2)}, {fixed(high, 2)}]"
