"""What an analysis says: plain data that prints, tabulates, and goes to JSON and back.

A :class:`StudyResult` holds one :class:`Question` after another; a question holds its sentence, its
:class:`TestResult` objects and its :class:`Table` objects. Reports render it and compute nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qloc.errors import InputError, message
from qloc.text_files import write_text

FORMAT_VERSION = 1  # 1: first form
FILE = "study.json"

Verdict = Literal["holds", "does not hold", "undecided", "not identified", "descriptive"]
Role = Literal["confirmatory", "exploratory", "descriptive"]
Cell = str | float | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval, with how it was made."""

    low: float
    high: float
    confidence: float
    method: str


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """A standardized effect: its name (``matched rank-biserial``, ``Hedges' g`` …), value and interval."""

    name: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """The one object that every test returns (statistics.md §9).

    Attributes
    ----------
    name, question : short name, such as ``H1a``; what was asked, one line.
    estimand, unit : what ``estimate`` estimates, in words; the unit of inference, such as ``fact``.
    n : how many at each level, such as ``{"relations": 9, "facts": 812, "queries": 6120}``.
    estimate : in the estimand's own unit; NaN where it cannot be had.
    method : how p was made, such as ``permutation within relation × template, 999``.
    p, p_adjusted : None for descriptive results; adjusted within ``family``.
    margin, p_equivalence : what counts as no difference, of the estimate or effect size (``checks`` say
        which); p of lying within ±margin, adjusted like p.
    family : the tests corrected together, and how, such as ``confirmatory (Holm)``.
    verdict : what follows at level ``alpha``; the only word a summary may use.
    checks : assumption checks and caveats, one sentence each.
    seed, store : of every random draw behind it, None where there was none; the store's fingerprint.
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
        """The result in words, as a report prints it."""
        parts = [f"{self.name}: {self.estimand} is {_short(self.estimate)}"]
        if self.interval:
            share = f"{100 * self.interval.confidence:g}%"
            parts.append(f" ({share} interval {_short(self.interval.low)} to {_short(self.interval.high)})")
        if self.n:
            parts.append(" over " + ", ".join(f"{count:,} {level}" for level, count in self.n.items()))
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
        """One row; nested parts flattened to columns such as ``interval_low``."""
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
    name, title : identifier within the study, such as ``consistency_by_relation``; one line.
    columns : column name → cells; None where there is no value.
    labels : column name → heading with unit, where the name is not enough.
    note : what a reader must know to read it.
    """

    name: str
    title: str
    columns: Mapping[str, tuple[Cell, ...]]
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame."""
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
        """A table of a frame's columns (its index is dropped)."""
        columns = {str(key): tuple(_cell(value) for value in frame[key].tolist()) for key in frame.columns}
        return cls(name=name, title=title, columns=columns, labels=labels or {}, note=note)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing asked of a study: a sentence that answers it, tests, tables, and how it was done.

    Attributes
    ----------
    id, title : anchor, such as ``consistency``; the question, as a reader would put it.
    answer : what came out, one or two sentences with figures.
    method : how, with formulas in plain text, and what it does not show.
    references : the sources, one citation each.
    """

    id: str
    title: str
    answer: str
    tests: tuple[TestResult, ...] = ()
    tables: tuple[Table, ...] = ()
    method: str = ""
    references: tuple[str, ...] = ()

    def table(self, name: str) -> Table | None:
        """The table of that name, or None."""
        return next((table for table in self.tables if table.name == name), None)


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All that an analysis of one store says.

    Attributes
    ----------
    title, model, facts : ``embedded:causal on embedded facts``; what was asked of which model, in words.
    provenance : name → value, shown as it is: store fingerprint, versions, parameters, seeds.
    counts : what entered and what was left out, by reason.
    plan, synthetic : the analysis plan, as JSON; whether model or data are for demonstration only.
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
        """Every test, in the order of the questions."""
        return tuple(test for question in self.questions for test in question.tests)

    def question(self, id: str) -> Question | None:
        """The question of that id, or None."""
        return next((question for question in self.questions if question.id == id), None)

    def save(self, folder: Path) -> Path:
        """Write ``study.json`` into ``folder`` (made if missing), whole or not at all; returns its path."""
        content = {"format": FORMAT_VERSION, **plain(self)}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        return write_text(text + "\n", folder / FILE, "results")


def load(folder: Path) -> StudyResult:
    """The result that :meth:`StudyResult.save` wrote.

    Raises
    ------
    InputError : no such file, or of a newer format.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        rule, action = f"a folder that `qloc analyze` wrote, with {FILE} in it", "Run `qloc analyze` first"
        raise InputError(message("results", str(folder), rule, str(path), action)) from None
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT_VERSION:
        rule, action = str(FORMAT_VERSION), "Analyze again with this qloc"
        raise InputError(message("format", str(path), rule, "results", action))
    try:
        questions = tuple(_question(entry) for entry in found.pop("questions"))
        return StudyResult(questions=questions, **{**found, "notes": tuple(found["notes"])})
    except (KeyError, TypeError, AttributeError):
        rule, action = f"a whole {FILE} as `qloc analyze` writes it", "Run `qloc analyze` again"
        raise InputError(message("results", str(folder), rule, str(path), action)) from None


def plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, NaN and infinities as None."""
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
    """None where a number must stand was NaN."""
    needed = {"estimate", "value", "low", "high"}
    return {key: math.nan if part is None and key in needed else part for key, part in entry.items()}


def _cell(value: Any) -> Cell:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _short(number: float) -> str:
    return "not available" if math.isnan(number) else f"{number:.3g}"


def _p(number: float) -> str:
    return "not available" if math.isnan(number) else f"= {number:.2g}" if number >= 0.001 else "< 0.001"
