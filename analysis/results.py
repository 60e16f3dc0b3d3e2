"""Results of an analysis: plain data that prints, tabulates, and goes to JSON and back.

A :class:`StudyResult` holds :class:`Question` objects. A question holds a sentence that answers it, its
:class:`TestResult` objects and its :class:`Table` objects. Reports render results and compute nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from qloc.analysis.hypothesis_test import MARKS as MARKS
from qloc.analysis.hypothesis_test import NEW_RELATIONS as NEW_RELATIONS
from qloc.analysis.hypothesis_test import THESE_RELATIONS as THESE_RELATIONS
from qloc.analysis.hypothesis_test import EffectSize as EffectSize  # parts of a result: imported from here
from qloc.analysis.hypothesis_test import Interval as Interval
from qloc.analysis.hypothesis_test import Role as Role
from qloc.analysis.hypothesis_test import TestResult as TestResult
from qloc.analysis.hypothesis_test import Verdict as Verdict
from qloc.analysis.hypothesis_test import estimate_words as estimate_words
from qloc.analysis.plain_values import cell
from qloc.analysis.plain_values import plain as plain
from qloc.errors import InputError, message
from qloc.hypothesis_registry import Claims
from qloc.text.annotated import mistyped
from qloc.text.files import write_text
from qloc.text.notebook_html import notebook_html
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of
from qloc.text.rounding import Cell as Cell  # what a table holds; reports import it from here

FORMAT_VERSION = 2  # 1: verdicts without direction; sentences from before correction
"""Version of the form of ``study.json``."""

FILE = "study.json"
"""Name of the file that :meth:`StudyResult.save` writes."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Named columns of equal length, at full precision; a figure is drawn from one.

    Attributes
    ----------
    name : str
        Identifier within the study, such as ``consistency_by_relation``.
    title : str
        Title, in one line.
    columns : mapping of str to tuple of cells
        Values by column name; None where there is no value.
    labels : mapping of str to str
        Headings with units, for columns whose name is not enough.
    note : str
        What a reader must know to read the table.
    """

    name: str
    title: str
    columns: Mapping[str, tuple[Cell, ...]]
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a DataFrame.

        Returns
        -------
        pandas.DataFrame
            The same columns, in the same order.
        """
        return pd.DataFrame({name: list(cells) for name, cells in self.columns.items()})

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        name: str,
        title: str,
        labels: Mapping[str, str] | None = None,
        note: str = "",
    ) -> Table:
        """Make a table of the columns of a DataFrame; its index is dropped.

        Parameters
        ----------
        frame : pandas.DataFrame
            The columns; NaN and infinities become None.
        name, title : str
            As the attributes.
        labels : mapping of str to str, optional
            Headings of columns.
        note : str, optional
            What a reader must know to read the table.

        Returns
        -------
        Table
            Cells at full precision.
        """
        columns = {str(key): tuple(cell(value) for value in frame[key].tolist()) for key in frame.columns}
        return cls(name=name, title=title, columns=columns, labels=labels or {}, note=note)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about a study: its answer in words, tests, tables, and how they were made.

    Attributes
    ----------
    id : str
        Anchor, such as ``consistency``.
    title : str
        The question, as a reader would put it.
    answer : str
        The answer, in a few sentences with figures: a sentence for each verdict, then what was measured.
    tests : tuple of TestResult
        Tests of the question.
    tables : tuple of Table
        Tables of the question, the main one first.
    method : str
        How it was done, with formulas in plain text, and what it does not show.
    references : tuple of str
        Sources, one citation each.
    measured : str or None
        The part of ``answer`` that no verdict makes: measurements, which need no test. None until verdicts
        are corrected: ``answer`` then holds this part alone.
    """

    id: str
    title: str
    answer: str
    tests: tuple[TestResult, ...] = ()
    tables: tuple[Table, ...] = ()
    method: str = ""
    references: tuple[str, ...] = ()
    measured: str | None = None

    def table(self, name: str) -> Table | None:
        """Return the table of a name.

        Parameters
        ----------
        name : str
            Identifier of the table.

        Returns
        -------
        Table or None
            None where the question has no such table.
        """
        return next((table for table in self.tables if table.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What may spoil a study, found in its numbers.

    Attributes
    ----------
    kind : str
        In a word or two, such as ``leaking``.
    text : str
        What was found, in one sentence with its numbers.
    question : str
        Id of the question whose tables have more; empty where none has.
    """

    kind: str
    text: str
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The whole analysis of one store, or of several that are compared.

    Attributes
    ----------
    title : str
        Title, such as ``embedded:causal on embedded facts``.
    model : str
        The model, in words.
    facts : str
        The facts, in words.
    questions : tuple of Question
        The questions, in the order of a report.
    provenance : mapping of str to str
        Store fingerprint, versions, parameters and seeds, shown as they are.
    counts : mapping of str to int
        How much was used, and how much was left out for each reason.
    plan : mapping
        The analysis plan, as JSON.
    synthetic : bool
        Whether model or data are for demonstration only.
    notes : tuple of str
        Caveats of the whole analysis, one sentence each.
    summary : tuple of str
        What came out, in a few sentences; empty in results of older versions.
    alerts : tuple of Alert
        What may spoil the study, found in its numbers.
    """

    title: str
    model: str
    facts: str
    questions: tuple[Question, ...]
    provenance: Mapping[str, str]
    counts: Mapping[str, int]
    plan: Mapping[str, Any]
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()

    def __repr__(self) -> str:
        told = "".join(f"\n  {sentence}" for sentence in self.summary)
        tables = sum(len(question.tables) for question in self.questions)
        held = ", ".join(f"{test.name} {MARKS[test.verdict]}" for test in self.tests())
        size = f"{len(self.questions)} questions, {len(self.tests())} tests, {tables} tables"
        return f"<StudyResult of {self.title}: {size}>{told}" + (f"\n  {held}" if held else "")

    def _repr_html_(self) -> str:
        pairs = [(question.title, question.answer) for question in self.questions]
        return notebook_html(self.title, self.summary, pairs)

    def tests(self) -> tuple[TestResult, ...]:
        """Return every test, in the order of the questions.

        Returns
        -------
        tuple of TestResult
            The tests of all questions.
        """
        return tuple(test for question in self.questions for test in question.tests)

    def question(self, id: str) -> Question | None:
        """Return the question of an id.

        Parameters
        ----------
        id : str
            Anchor of the question.

        Returns
        -------
        Question or None
            None where there is no such question.
        """
        return next((question for question in self.questions if question.id == id), None)

    def save(self, folder: Path) -> Path:
        """Write ``study.json`` into a folder, completely or not at all.

        Parameters
        ----------
        folder : Path
            Made if missing.

        Returns
        -------
        Path
            The file.
        """
        content = {"format": FORMAT_VERSION, **plain(self)}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        return write_text(text + "\n", folder / FILE, "results")


def load(folder: Path) -> StudyResult:
    """Read the result that :meth:`StudyResult.save` wrote.

    Parameters
    ----------
    folder : Path
        Folder with ``study.json`` in it.

    Returns
    -------
    StudyResult
        Equal to the one saved, except that infinite numbers were saved as none.

    Raises
    ------
    InputError
        There is no such file, it has another format version, or it is not complete.
    """
    path = folder / FILE
    try:
        content = json_of(read_ordinary(path))
    except (OSError, ValueError):
        rule, action = f"a folder that `qloc analyze` wrote, with {FILE} in it", "Run `qloc analyze` first"
        raise InputError(message("results", str(folder), rule, str(path), action)) from None
    version = content.pop("format", None) if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        rule = f"{FORMAT_VERSION}: verdicts of format 1 knew no direction and no smallest effect of interest"
        action = "Analyze again with this qloc"
        raise InputError(message("format of results", version, rule, str(path), action))
    rule, action = f"a whole {FILE} as `qloc analyze` writes it", "Run `qloc analyze` again"
    try:
        questions = tuple(_question(entry) for entry in content.pop("questions"))
        alerts = tuple(Alert(**alert) for alert in content.pop("alerts", ()))
        told = tuple(content.pop("summary", ()))
        fields = {**content, "notes": tuple(content["notes"])}
        result = StudyResult(questions=questions, alerts=alerts, summary=told, **fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(message("results", str(folder), rule, str(path), action)) from None
    if problems := [message(at, got, rule, str(path), action) for at, got, rule in _problems(result)]:
        raise InputError(problems)
    return result


def _problems(result: StudyResult) -> Iterator[tuple[str, object, str]]:
    """Tell what no analysis gives: values of other types, columns of a table of different lengths."""
    wrong = [*mistyped(result, StudyResult)]
    for at, got, rule in wrong:
        yield at, got if isinstance(got, str | int | float | None) else type(got).__name__, rule
    for table in () if wrong else (table for question in result.questions for table in question.tables):
        if len(lengths := sorted({len(cells) for cells in table.columns.values()})) > 1:
            yield f"columns of table {table.name!r}", f"of lengths {lengths}", "all of one length"


def _question(entry: dict[str, Any]) -> Question:
    tests = tuple(_test(test) for test in entry.pop("tests"))
    tables = tuple(
        Table(**{**table, "columns": {key: tuple(cells) for key, cells in table["columns"].items()}})
        for table in entry.pop("tables")
    )
    return Question(tests=tests, tables=tables, **{**entry, "references": tuple(entry["references"])})


def _test(entry: dict[str, Any]) -> TestResult:
    effect, claims = entry.pop("effect"), entry.pop("claims")
    return TestResult(
        interval=_interval(entry.pop("interval")),
        effect=effect and EffectSize(**{**_numbers(effect), "interval": _interval(effect["interval"])}),
        claims=claims and Claims(**claims),
        checks=tuple(entry.pop("checks")),
        **_numbers(entry),
    )


def _interval(entry: dict[str, Any] | None) -> Interval | None:
    return Interval(**_numbers(entry)) if entry else None


def _numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """Replace None by NaN where a number must stand."""
    needed = {"estimate", "value", "low", "high"}
    return {key: math.nan if part is None and key in needed else part for key, part in entry.items()}
