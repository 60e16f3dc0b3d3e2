"""Several studies side by side: the verdict and estimate of every test in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from qloc.analysis.results import MARKS, Role
from qloc.reports.document import (
    ColumnKind,
    ComparedTest,
    Comparison,
    Finding,
    Part,
    TableBlock,
    unique,
)
from qloc.reports.forest import forest
from qloc.reports.result_text import estimate, surety

_ORDER: Final[Mapping[Role, int]] = {"confirmatory": 0, "exploratory": 1, "descriptive": 2}


def side_by_side(parts: Sequence[Part]) -> Comparison:
    """Compare the tests of several studies, by name, those of a plan first.

    Parameters
    ----------
    parts : sequence of Part
        Two at least.

    Returns
    -------
    Comparison
        The tests as data, as a table of text, and drawn.
    """
    found = [_findings(part) for part in parts]
    tests = tuple(_compared(name, found) for name in unique(name for study in found for name in study))
    tests = tuple(sorted(tests, key=lambda test: _ORDER[test.role]))
    studies = [(name, tuple(one.values())) for name, one in zip(names(parts), found, strict=True)]
    drawn = forest(studies, "comparison", "Every effect that was tested, standardized, study by study")
    return Comparison(tests=tests, table=_table(tests, parts), figure=drawn)


def _findings(part: Part) -> dict[str, Finding]:
    """Name of a test → its first finding."""
    found: dict[str, Finding] = {}
    for section in part.sections:
        for finding in section.findings:
            found.setdefault(finding.test.name, finding)
    return found


def _compared(name: str, found: Sequence[dict[str, Finding]]) -> ComparedTest:
    findings = tuple(study.get(name) for study in found)
    tests = [finding.test for finding in findings if finding]
    role = min((test.role for test in tests), key=lambda role: _ORDER[role])
    return ComparedTest(
        name=name, question=tests[0].question, unit=tests[0].unit, role=role, findings=findings
    )


def _table(tests: Sequence[ComparedTest], parts: Sequence[Part]) -> TableBlock:
    kinds: list[ColumnKind] = ["text"] * (3 + len(parts))
    columns = [tuple(_written(test.findings[place]) for test in tests) for place in range(len(parts))]
    return TableBlock(
        name="comparison",
        title="Every test, study by study",
        heads=("test", *names(parts), "unit", "role"),
        columns=(
            tuple(f"{test.name}: {test.question}" for test in tests),
            *columns,
            tuple(test.unit for test in tests),
            tuple(test.role for test in tests),
        ),
        kinds=tuple(kinds),
        note="A few studies that agree or differ support no claim about models in general.",
    )


def names(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the studies' titles, without the `` on FACTS`` that all of them share.

    Parameters
    ----------
    parts : sequence of Part
        The studies.

    Returns
    -------
    tuple of str
        One a study, all different where the titles are.
    """
    titles = tuple(part.title for part in parts)
    ends = {title.partition(" on ")[2] for title in titles}
    short = tuple(title.partition(" on ")[0] for title in titles)
    return short if len(ends) == 1 and len(set(short)) == len(titles) else titles


def _written(finding: Finding | None) -> str:
    if finding is None:
        return "not made"
    told = (
        f"{MARKS[finding.test.verdict]} {finding.test.verdict}",
        estimate(finding.test),
        surety(finding.test),
    )
    return "; ".join(filter(None, (", ".join(filter(None, told)), finding.test.sizes())))
