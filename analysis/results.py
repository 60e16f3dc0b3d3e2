"""Results of an analysis: plain data that prints, tabulates, and goes to JSON and back.

A :class:`StudyResult` holds :class:`Question` objects. A question holds a sentence that answers it, its
:class:`TestResult` objects and its :class:`Table` objects. Reports render results and compute nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qloc.errors import InputError, message
from qloc.text.annotated import mistyped
from qloc.text.files import write_text
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of
from qloc.text.rounding import Cell as Cell  # what a table holds; reports import it from here
from qloc.text.rounding import number, p_value

FORMAT_VERSION = 1  # 1: first form
"""Version of the form of ``study.json``."""

FILE = "study.json"
"""Name of the file that :meth:`StudyResult.save` writes."""

Verdict = Literal["holds", "does not hold", "undecided", "not identified", "descriptive"]
Role = Literal["confirmatory", "exploratory", "descriptive"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval, and how it was made.

    Attributes
    ----------
    low, high : float
        Ends, in the unit of the estimate; NaN where there is none.
    confidence : float
        Confidence level, within (0, 1).
    method : str
        How it was made, in words.
    """

    low: float
    high: float
    confidence: float
    method: str


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """A standardized effect.

    Attributes
    ----------
    name : str
        Name of the effect size, such as ``matched rank-biserial`` or ``Hedges' g``.
    value : float
        NaN where it is not defined.
    interval : Interval or None
        Its interval, where there is one.
    """

    name: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """The result of one test; every test returns this class (docs/statistics.md).

    Attributes
    ----------
    name : str
        Short name, such as ``H1a``.
    question : str
        What was asked, in one line.
    estimand : str
        What ``estimate`` estimates, in words.
    unit : str
        Unit of inference, such as ``fact``.
    n : mapping of str to int
        Sample size at each level, such as ``{"relations": 9, "facts": 812, "queries": 6120}``.
    estimate : float
        In the estimand's own unit; NaN where it is not defined.
    interval : Interval or None
        Interval of the estimate.
    effect : EffectSize or None
        Standardized effect.
    method : str
        How p was made, such as ``permutation within relation × template, 999``.
    p : float or None
        None for descriptive results and those that could not be tested.
    role : {"confirmatory", "exploratory", "descriptive"}
        Whether the plan named the test beforehand.
    verdict : {"holds", "does not hold", "undecided", "not identified", "descriptive"}
        What follows at level ``alpha``; the only words that a summary may use.
    alpha : float
        Level of the verdict.
    p_adjusted : float or None
        p adjusted within ``family``.
    margin : float or None
        Largest value of the estimate or effect size (``checks`` say which) that counts as no difference.
    p_equivalence : float or None
        p of lying within ±margin, adjusted like p.
    family : str
        The tests corrected together, and how, such as ``confirmatory (Holm)``.
    checks : tuple of str
        Assumption checks and caveats, one sentence each.
    seed : int or None
        Seed of every random draw behind the result; None where nothing was drawn.
    store : str
        Fingerprint of the store.
    """

    __test__ = False

    name: str
    question: str
    estimand: str
    unit: str
    n: Mapping[str, int]
    estimate: float
    interval: Interval | None
    effect: EffectSize | None
    method: str
    p: float | None
    role: Role
    verdict: Verdict
    alpha: float = 0.05
    p_adjusted: float | None = None
    margin: float | None = None
    p_equivalence: float | None = None
    family: str = ""
    checks: tuple[str, ...] = ()
    seed: int | None = None
    store: str = ""

    def sentence(self) -> str:
        """Return the result in words, as a report prints it, with rounded numbers.

        Returns
        -------
        str
            Estimate, interval, sample sizes, p-values and verdict.
        """
        parts = [f"{self.name}: {self.estimand} is {_short(self.estimate)}"]
        if self.interval:
            share = f"{100 * self.interval.confidence:g}%"
            parts.append(f" ({share} interval {_short(self.interval.low)} to {_short(self.interval.high)})")
        if self.n:
            parts.append(
                " over " + ", ".join(f"{number(int(count))} {level}" for level, count in self.n.items())
            )
        if self.p is not None:
            parts.append(f"; p {_p(self.p)}")
        if self.p_adjusted is not None:
            parts.append(f", adjusted p {_p(self.p_adjusted)}")
        if self.margin is not None and self.p_equivalence is not None and self.verdict == "does not hold":
            parts.append(f"; within ±{self.margin:g}, p {_p(self.p_equivalence)}")
        return "".join(parts) + f". {self.verdict.capitalize()}."

    def __str__(self) -> str:
        return self.sentence()

    def to_frame(self) -> pd.DataFrame:
        """Return the result as a table of one row.

        Returns
        -------
        pandas.DataFrame
            A column for each attribute; nested parts are flattened to columns such as ``interval_low``.
        """
        flat: dict[str, Any] = {}
        for name, value in plain(self).items():
            if isinstance(value, dict):
                nested = pd.json_normalize({name: value}, sep="_").iloc[0].to_dict()
                flat.update({str(key): part for key, part in nested.items()})
            elif isinstance(value, list):
                flat[name] = "; ".join(map(str, value))
            else:
                flat[name] = value
        return pd.DataFrame([flat])


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
        columns = {str(key): tuple(_cell(value) for value in frame[key].tolist()) for key in frame.columns}
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
        The answer, in one or two sentences with figures.
    tests : tuple of TestResult
        Tests of the question.
    tables : tuple of Table
        Tables of the question, the main one first.
    method : str
        How it was done, with formulas in plain text, and what it does not show.
    references : tuple of str
        Sources, one citation each.
    """

    id: str
    title: str
    answer: str
    tests: tuple[TestResult, ...] = ()
    tables: tuple[Table, ...] = ()
    method: str = ""
    references: tuple[str, ...] = ()

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
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT_VERSION:
        rule, action = str(FORMAT_VERSION), "Analyze again with this qloc"
        raise InputError(message("format", str(path), rule, "results", action))
    rule, action = f"a whole {FILE} as `qloc analyze` writes it", "Run `qloc analyze` again"
    try:
        questions = tuple(_question(entry) for entry in content.pop("questions"))
        result = StudyResult(questions=questions, **{**content, "notes": tuple(content["notes"])})
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


def plain(value: Any) -> Any:
    """Return a value in the types of JSON.

    Parameters
    ----------
    value : object
        A dataclass, mapping, list, tuple or scalar, nested to any depth.

    Returns
    -------
    object
        Dataclasses as dicts, tuples as lists, NaN and infinities as None, NumPy scalars as Python's, other
        objects as text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return _cell(value)


def _question(entry: dict[str, Any]) -> Question:
    tests = tuple(_test(test) for test in entry.pop("tests"))
    tables = tuple(
        Table(**{**table, "columns": {key: tuple(cells) for key, cells in table["columns"].items()}})
        for table in entry.pop("tables")
    )
    return Question(tests=tests, tables=tables, **{**entry, "references": tuple(entry["references"])})


def _test(entry: dict[str, Any]) -> TestResult:
    effect = entry.pop("effect")
    return TestResult(
        interval=_interval(entry.pop("interval")),
        effect=effect and EffectSize(**{**_numbers(effect), "interval": _interval(effect["interval"])}),
        checks=tuple(entry.pop("checks")),
        **_numbers(entry),
    )


def _interval(entry: dict[str, Any] | None) -> Interval | None:
    return Interval(**_numbers(entry)) if entry else None


def _numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """Replace None by NaN where a number must stand."""
    needed = {"estimate", "value", "low", "high"}
    return {key: math.nan if part is None and key in needed else part for key, part in entry.items()}


def _cell(value: Any) -> Cell:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _short(value: float) -> str:
    return "not available" if math.isnan(value) else number(float(value))


def _p(value: float) -> str:
    if math.isnan(value):
        return "not available"
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"
