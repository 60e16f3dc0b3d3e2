"""From results to a document: what stands where, and which table becomes which figure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeVar, cast

from qloc.analysis.results import Alert, Cell, Question, StudyResult, Table, TestResult, Verdict, plain
from qloc.canonical_json import digest
from qloc.errors import InputError, message
from qloc.hypothesis_registry import ACCOUNTS, REGISTRY
from qloc.reports.document import (
    ColumnKind,
    Document,
    Finding,
    Part,
    Prediction,
    Provenance,
    Section,
    Summary,
    TableBlock,
)
from qloc.reports.figures.from_table import figures
from qloc.reports.figures.table_words import heading, word
from qloc.reports.forest import forest
from qloc.reports.side_by_side import side_by_side
from qloc.text.printable import printable
from qloc.text.rounding import available

T = TypeVar("T")

_COUNTED: Final[tuple[tuple[tuple[Verdict, ...], str, str], ...]] = (
    (("holds",), "holds", "hold"),
    (("the opposite holds",), "holds in the opposite direction", "hold in the opposite direction"),
    (("no relevant difference",), "shows no relevant difference", "show no relevant difference"),
    (("undecided",), "is undecided", "are undecided"),
    (("cannot be told", "not identified"), "cannot be told", "cannot be told"),
)


def build(results: Sequence[StudyResult]) -> Document:
    """Build the document of one study, or of several.

    Parameters
    ----------
    results : sequence of StudyResult
        What analyses gave, one a study.

    Returns
    -------
    Document
        Parts in the order of the results; a comparison of models comes first, and is no study beside
        the others.

    Raises
    ------
    InputError
        No results.
    """
    if not results:
        rule = "at least one folder that `qloc analyze` wrote"
        raise InputError(message("results", [], rule, "qloc report", "Run `qloc analyze` first"))
    results = [_shown(result) for result in results]
    several = len(results) > 1
    ordered = told_apart(sorted(results, key=lambda result: not _compares(result)))
    prefixes = [f"study-{n}-" if several else "" for n in range(1, len(results) + 1)]
    parts = tuple(_part(result, prefix) for result, prefix in zip(ordered, prefixes, strict=True))
    studies = parts[sum(map(_compares, results)) :]
    if len(studies) < 2:
        return Document(title=ordered[0].title, parts=parts)
    parts = tuple(replace(part, summary=replace(part.summary, figure=None)) for part in parts)  # drawn once
    title = f"{len(studies)} studies compared"
    return Document(title=title, parts=parts, comparison=side_by_side(studies))


def _shown(value: T) -> T:
    """Escape what would act on a terminal, or turn a line around, in every text of a result."""
    shown: Any = value
    if isinstance(value, str):
        shown = printable(value)
    elif is_dataclass(value) and not isinstance(value, type):
        shown = replace(value, **{part.name: _shown(getattr(value, part.name)) for part in fields(value)})
    elif isinstance(value, Mapping):
        shown = {_shown(name): _shown(part) for name, part in value.items()}
    elif isinstance(value, list | tuple):
        shown = tuple(map(_shown, value))
    return cast("T", shown)


def told_apart(results: Sequence[StudyResult]) -> list[StudyResult]:
    """Number the results of one title: they are of one model, from different stores.

    Parameters
    ----------
    results : sequence of StudyResult
        In the order in which they are numbered.

    Returns
    -------
    list of StudyResult
        The results; of those that share a title, with `` (1)``, `` (2)`` behind it.
    """
    titles = [result.title for result in results]
    numbers = [titles[: n + 1].count(title) for n, title in enumerate(titles)]
    return [
        replace(result, title=f"{result.title} ({number})") if titles.count(result.title) > 1 else result
        for result, number in zip(results, numbers, strict=True)
    ]


def _compares(result: StudyResult) -> bool:
    """Whether a result compares models: it then comes first, and is no study beside the others."""
    return result.question("models") is not None


def _part(result: StudyResult, prefix: str) -> Part:
    sections = tuple(_section(question, prefix) for question in result.questions)
    return Part(
        id=prefix.rstrip("-") or "study",
        title=result.title,
        model=result.model,
        facts=result.facts,
        synthetic=result.synthetic,
        notes=tuple(note for note in result.notes if not (result.synthetic and note.startswith("Synthetic"))),
        alerts=tuple(_alert(alert, prefix, sections) for alert in result.alerts),
        summary=_summary(result, sections, prefix),
        sections=sections,
        provenance=Provenance(
            entries=tuple((str(name), str(value)) for name, value in result.provenance.items()),
            counts=tuple((str(name), int(count)) for name, count in result.counts.items()),
            plan=json.dumps(plain(result.plan), indent=2, ensure_ascii=False) if result.plan else "",
        ),
    )


def _summary(result: StudyResult, sections: Sequence[Section], prefix: str) -> Summary:
    findings = [finding for section in sections for finding in section.findings]
    counted = summary(findings, digest(plain(result.plan)) if result.plan else "")
    if result.questions and not findings:
        counted = replace(counted, headline="Nothing was tested: tables and figures describe.")
    return replace(
        counted,
        sentences=result.summary,
        predictions=predictions(findings),
        figure=forest([("", findings)], f"{prefix}effects", "Every effect that was tested, standardized"),
    )


def _alert(alert: Alert, prefix: str, sections: Sequence[Section]) -> Alert:
    anchor = f"{prefix}{alert.question}"
    return replace(alert, question=anchor if anchor in {section.id for section in sections} else "")


def predictions(findings: Iterable[Finding]) -> tuple[Prediction, ...]:
    """Say what each account predicts, and what was seen.

    Parameters
    ----------
    findings : iterable of Finding
        Of one study.

    Returns
    -------
    tuple of Prediction
        Account by account, in the order of the hypotheses.
    """
    known = {finding.test.name: finding for finding in findings if finding.test.role != "descriptive"}
    made = []
    for account, says in ACCOUNTS.items():
        for name, entry in REGISTRY.items():
            region = entry.predicted.get(account)
            if region is None or name not in known or entry.claims is None:
                continue
            seen = known[name].test.seen()
            made.append(
                Prediction(
                    account=account, says=says, claim=getattr(entry.claims, region),
                    seen=None if seen is None else seen == region, finding=known[name],
                )
            )  # fmt: skip
    return tuple(made)


def _section(question: Question, prefix: str) -> Section:
    id = f"{prefix}{question.id}"
    return Section(
        id=id,
        title=question.title,
        sentence=question.answer or "The analysis gave no answer.",
        findings=_findings(question, id),
        figures=tuple(one for table in question.tables for one in figures(table, f"{id}-{table.name}")),
        tables=tuple(block(table) for table in question.tables),
        method=question.method,
        references=question.references,
    )


def _findings(question: Question, id: str) -> tuple[Finding, ...]:
    """The findings of a section, each with an anchor that its name makes."""
    names = [re.sub("[^a-z0-9]+", "-", test.name.lower()).strip("-") or "test" for test in question.tests]
    anchors = [
        f"{id}-{name}" if names.count(name) == 1 else f"{id}-{name}-{place}"
        for place, name in enumerate(names, start=1)
    ]
    made = (_finding(test, id) for test in question.tests)
    return tuple(replace(finding, anchor=anchor) for finding, anchor in zip(made, anchors, strict=True))


def _finding(test: TestResult, section: str) -> Finding:
    """A p that is NaN is no p: it would print as one, and JSON has none."""
    names = [field.name for field in fields(test) if field.name == "p" or field.name.startswith("p_")]
    missing: dict[str, Any] = {name: None for name in names if not available(getattr(test, name))}
    test = replace(test, **missing)
    return Finding(test=test, sentence=test.sentence(), section=section)


def summary(findings: Iterable[Finding], plan_digest: str = "") -> Summary:
    """Sort findings by verdict, confirmatory ones first, and count them in a sentence.

    Parameters
    ----------
    findings : iterable of Finding
        Of every section.
    plan_digest : str, default ""
        sha256 of the analysis plan; empty without a plan.

    Returns
    -------
    Summary
        The summary of a part.
    """
    order = {"confirmatory": 0, "exploratory": 1, "descriptive": 2}
    ranked = sorted(findings, key=lambda finding: order[finding.test.role])

    def having(*verdicts: Verdict) -> tuple[Finding, ...]:
        return tuple(finding for finding in ranked if finding.test.verdict in verdicts)

    return Summary(
        headline=_headline([finding.test for finding in ranked]),
        digest=plan_digest,
        held=having("holds"),
        opposite=having("the opposite holds"),
        equal=having("no relevant difference"),
        undecided=having("undecided"),
        untold=having("cannot be told", "not identified"),
        measured=having("descriptive"),
    )


def _headline(tests: Sequence[TestResult]) -> str:
    judged = [test for test in tests if test.verdict != "descriptive"]
    if not judged:
        return "This study measures; it gives no verdicts." if tests else "No test was made."
    role = "confirmatory" if any(test.role == "confirmatory" for test in judged) else "exploratory"
    counted = [test for test in judged if test.role == role]
    parts = []
    for verdicts, one, many in _COUNTED:
        n = sum(test.verdict in verdicts for test in counted)
        if n:
            parts.append(f"{n} {one if n == 1 else many}")
    noun = "test" if len(counted) == 1 else "tests"
    rest = len(judged) - len(counted)
    more = f" {rest} more {'is' if rest == 1 else 'are'} exploratory." if rest else ""
    return f"Of {len(counted)} {role} {noun}, {_listed(parts)}.{more}"


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def block(table: Table) -> TableBlock:
    """Give an analysis's table headings and a way to write each column.

    Parameters
    ----------
    table : Table
        As the analysis made it.

    Returns
    -------
    TableBlock
        The same cells, symbols in place of the names of scores.
    """
    names = tuple(table.columns)
    return TableBlock(
        name=table.name,
        title=table.title,
        heads=tuple(heading(table, name) for name in names),
        columns=tuple(tuple(word(cell, name) for cell in table.columns[name]) for name in names),
        kinds=tuple(_kind(name, table.columns[name]) for name in names),
        note=table.note,
        keys=names,
    )


def _kind(name: str, cells: tuple[Cell, ...]) -> ColumnKind:
    numbers = [cell for cell in cells if isinstance(cell, int | float) and not isinstance(cell, bool)]
    if not numbers or any(isinstance(cell, str) for cell in cells):
        return "number" if not any(cell is not None for cell in cells) else "text"
    if name in ("p", "p_adjusted", "p_value") or name.startswith("p_"):
        return "p"
    return "count" if all(isinstance(cell, int) for cell in numbers) else "number"
