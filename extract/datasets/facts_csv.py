"""facts.csv: each line holds one query, as spreadsheets write it (facts.tsv: separated by tabs).

    relation,subject,object,query,template,count
    capital,France,Paris,The capital of [X] is [Y].,capital-1,51
    capital,France,Paris,"[X]'s capital, [Y]",capital-2,51

Lines with the same relation, subject and object are queries of one fact. ``id`` and ``template`` may be left
out: the id of a fact is then ``relation:subject:object``, and that of a template its own text. Every other
column is an attribute of the fact: a number if its cells are numbers, else text. Empty cells are missing
values, and so are NA, nan, null and the like among numbers, which are counted. A stray cell among numbers,
such as 1,5, is refused. Digits with zeros before them (00123) are codes: their column stays text,
and the numbers in it are counted.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from qloc.extract.datasets.facts_jsonl import facts_of
from qloc.extract.datasets.json_lines import Problems, read_bytes
from qloc.extract.datasets.selection import select
from qloc.facts import Attribute, FactSet
from qloc.text.rounding import counted

NEEDED: Final = ("relation", "subject", "object", "query")
OPTIONAL: Final = ("id", "template")
DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ALMOST: Final = re.compile(r"[+-]?\d[\d.]*(,\d+)+%?|[+-]?[\d.]*\d%")
"""Numbers as spreadsheets of other languages write them: with a comma, or a sign for percent."""

_CODE: Final = re.compile(r"0\d+")
_MARKS: Final = frozenset({"na", "n/a", "#n/a", "nan", "null", "none", "-", "?"})
"""What stands for a missing value among numbers, in lower case."""

MARKED_MISSING: Final = "attribute marked as missing (NA, nan, null …)"
KEPT_AS_TEXT: Final = "number kept as text, since its column has words or codes such as 00123"
"""Reasons under which such cells are counted in ``skipped``."""


def read_table(
    path: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read a facts.csv or facts.tsv; see :func:`qloc.extract.datasets.read_facts`.

    Parameters
    ----------
    path : Path
        The file; its suffix tells the delimiter.
    source : str
        The input as the user named it, for messages and provenance.
    relations : tuple of str
        Relations to keep; all, if empty.
    max_facts : int or None
        Largest number of facts of each relation; all facts, if None.
    seed : int
        Seed of the sample of facts.

    Returns
    -------
    FactSet
        The facts, with duplicates merged and the sample drawn.

    Raises
    ------
    InputError
        For every problem of the file, each with its line.
    """
    problems = Problems()
    rows = list(_rows(path, problems))
    problems.stop()
    numbers = numeric_columns(rows, problems)
    facts = facts_of(entries_of(rows, numbers, problems), problems)
    problems.stop()
    skipped = cells_told(rows, numbers)
    return select(facts, source=source, skipped=skipped, relations=relations, max_facts=max_facts, seed=seed)


def numeric_columns(rows: Sequence[tuple[str, Mapping[str, str]]], problems: Problems) -> set[str]:
    """Return the columns of attributes that are numbers.

    Parameters
    ----------
    rows : sequence of (str, mapping of str to str)
        Place of each row, for messages; and its cells by column.
    problems : Problems
        Receives an entry for each cell that is none among cells that mostly are, or that is written as in
        another language (1,5).

    Returns
    -------
    set of str
        Names of columns.
    """
    columns: dict[str, list[tuple[str, str]]] = {}
    for at, row in rows:
        for name, cell in row.items():
            if name not in (*NEEDED, *OPTIONAL) and cell.strip():
                columns.setdefault(name, []).append((at, cell.strip()))
    return {name for name, cells in columns.items() if _are_numbers(name, cells, problems)}


def _are_numbers(name: str, cells: Sequence[tuple[str, str]], problems: Problems) -> bool:
    """Whether a column's filled cells are numbers; strays are refused."""
    strays = [(at, cell) for at, cell in cells if not (_NUMBER.fullmatch(cell) or _is_missing(cell))]
    n_numbers = sum(bool(_NUMBER.fullmatch(cell)) for _, cell in cells)
    if any(_CODE.fullmatch(cell) for _, cell in cells):
        return False
    n_almost = sum(bool(_ALMOST.fullmatch(cell)) for _, cell in strays)
    if n_numbers + n_almost <= len(strays) - n_almost:
        return False
    for at, cell in strays:
        rule = f"a number, as in {counted(n_numbers, 'other cell')} of the column, or empty"
        problems.add(name, cell, rule, at, "Write it as 1.5, or leave it empty")
    return True


def cells_told(rows: Sequence[tuple[str, Mapping[str, str]]], numbers: Collection[str]) -> dict[str, int]:
    """Count the cells of attributes that are read otherwise than their column or their look suggests.

    Parameters
    ----------
    rows : sequence of (str, mapping of str to str)
        Place of each row; and its cells by column.
    numbers : collection of str
        Columns whose cells are numbers (:func:`numeric_columns`).

    Returns
    -------
    dict of str to int
        Number of cells by reason, of those reasons that there are.
    """
    counts = Counter[str]()
    for _, row in rows:
        for name, cell in row.items():
            if name in numbers:
                counts[MARKED_MISSING] += _is_missing(cell)
            elif name not in (*NEEDED, *OPTIONAL) and not _CODE.fullmatch(cell.strip()):
                counts[KEPT_AS_TEXT] += bool(_NUMBER.fullmatch(cell.strip()))
    return {reason: count for reason, count in counts.items() if count}


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MARKS


def entries_of(
    rows: Sequence[tuple[str, Mapping[str, str]]], numbers: Collection[str], problems: Problems
) -> list[tuple[str, dict[str, Any]]]:
    """Group rows, one for each query, into entries, one for each fact.

    Parameters
    ----------
    rows : sequence of (str, mapping of str to str)
        Place of each row, for messages; and its cells by column.
    numbers : collection of str
        Columns whose cells are numbers (:func:`numeric_columns`).
    problems : Problems
        Receives an entry for each cell that contradicts an earlier row of its fact.

    Returns
    -------
    list of (str, dict)
        Place of each fact's first row, and the fact in the form of a line of facts.jsonl.
    """
    grouped: dict[str, _Grouped] = {}
    for at, row in rows:
        _add(grouped, row, at, numbers, problems)
    return [(group.at, {**group.entry, "queries": group.queries}) for group in grouped.values()]


@dataclass(kw_only=True)
class _Grouped:
    """The lines of one fact."""

    at: str
    entry: dict[str, Any]
    queries: list[dict[str, str]] = field(default_factory=list)


def _rows(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, str]]]:
    """Iterate over (place, column → cell) of each line; blank lines are skipped."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add("encoding", f"byte {error.start + 1}", "UTF-8", str(path), "Save the file as UTF-8")
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[path.suffix.lower()], strict=True)
    columns = [name.strip() for name in next(reader, [])]
    for name in NEEDED:
        if name not in columns:
            rule, action = f"all of {', '.join(NEEDED)}", "Add it to the first line"
            problems.add("column", f"{name} missing", rule, f"{path}, line 1", action)
    for name in {name for name in columns if columns.count(name) > 1 or not name}:
        problems.add("column", name, "a name that no other column has", f"{path}, line 1", "Rename it")
    if problems.found:
        return
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                at, action = f"{path}, line {reader.line_num}", "Quote cells that have commas in them"
                problems.add("cells", len(cells), f"{len(columns)}, as in the first line", at, action)
                continue
            yield f"{path}, line {reader.line_num}", dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        at = f"{path}, line {reader.line_num}: {error}"
        problems.add("line", "broken", "cells, quoted where they need it", at, "Mend the line")


def _add(
    grouped: dict[str, _Grouped],
    row: Mapping[str, str],
    at: str,
    numbers: Collection[str],
    problems: Problems,
) -> None:
    """Add a line to the fact that it belongs to."""
    texts = {name: row[name].strip() for name in ("relation", "subject", "object")}
    id = row.get("id", "").strip() or ":".join(texts.values())
    attributes = {
        name: _value(cell.strip(), name in numbers)
        for name, cell in row.items()
        if name not in (*NEEDED, *OPTIONAL)
        and cell.strip()
        and (name not in numbers or _NUMBER.fullmatch(cell.strip()))
    }
    group = grouped.setdefault(id, _Grouped(at=at, entry={"id": id, **texts, "attributes": attributes}))
    for name, text in texts.items():
        if group.entry[name] != text:
            rule = f"{group.entry[name]!r}, as at {group.at}"
            problems.add(name, text, rule, f"{at}, fact {id}", "Give the facts ids of their own")
    for name, value in attributes.items():
        if group.entry["attributes"].setdefault(name, value) != value:
            rule = f"{group.entry['attributes'][name]!r}, as at {group.at}"
            problems.add(name, value, rule, f"{at}, fact {id}", "Give a fact one value")
    query = row["query"].strip()
    group.queries.append({"template": row.get("template", "").strip() or query, "text": query})


def _value(cell: str, number: bool) -> Attribute:
    """Return a cell's value; of 9007199254740993.0 the integer, which is refused, not what it rounds to."""
    if not number:
        return cell
    whole = re.fullmatch(r"([+-]?\d+)(\.0*)?", cell)
    if whole and (whole[2] is None or abs(int(whole[1])) > 2**53):
        return int(whole[1])
    return float(cell)


def is_table(path: str) -> bool:
    """Return whether a path names a table, judged by its suffix.

    Parameters
    ----------
    path : str
        A path.

    Returns
    -------
    bool
        Whether it ends in ``.csv`` or ``.tsv``, in upper or lower case.

    Examples
    --------
    >>> is_table("facts.csv"), is_table("facts.jsonl")
    (True, False)
    """
    return path.lower().endswith(tuple(DELIMITERS))
