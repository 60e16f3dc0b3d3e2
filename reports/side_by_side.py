"""Several studies side by side: the verdict and estimate of every test in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qloc.analysis.results import MARKS
from qloc.reports.document import (
    ColumnKind,
    ComparedTest,
    Comparison,
    Figure,
    Finding,
    Mark,
    Part,
    Series,
    TableBlock,
    unique,
)
from qloc.reports.figures.alt_text import in_words
from qloc.reports.result_text import estimate
from qloc.text.rounding import available

N_DRAWN: Final = 8
"""Tests whose estimates are drawn; the table has all."""


def side_by_side(parts: Sequence[Part]) -> Comparison:
    """Compare the tests of several studies, by name, in the order of their first appearance.

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
    return Comparison(tests=tests, table=_table(tests, parts), figure=_figure(tests, parts))


def _findings(part: Part) -> dict[str, Finding]:
    """Name of a test → its first finding."""
    found: dict[str, Finding] = {}
    for section in part.sections:
        for finding in section.findings:
            found.setdefault(finding.test.name, finding)
    return found


def _compared(name: str, found: Sequence[dict[str, Finding]]) -> ComparedTest:
    findings = tuple(study.get(name) for study in found)
    question = next(finding.test.question for finding in findings if finding)
    return ComparedTest(name=name, question=question, findings=findings)


def _table(tests: Sequence[ComparedTest], parts: Sequence[Part]) -> TableBlock:
    kinds: list[ColumnKind] = ["text"] * (1 + len(parts))
    columns = [tuple(_written(test.findings[place]) for test in tests) for place in range(len(parts))]
    return TableBlock(
        name="comparison",
        title="Every test, study by study",
        heads=("test", *names(parts)),
        columns=(tuple(f"{test.name}: {test.question}" for test in tests), *columns),
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
    return f"{MARKS[finding.test.verdict]} {finding.test.verdict}, {estimate(finding.test)}"


def _figure(tests: Sequence[ComparedTest], parts: Sequence[Part]) -> Figure | None:
    titles = names(parts)
    drawn = [test for test in tests if any(f and available(f.test.estimate) for f in test.findings)]
    panels = tuple(_panel(test, titles, place) for place, test in enumerate(drawn[:N_DRAWN]))
    if not panels:
        return None
    more = f" The first {N_DRAWN} of {len(drawn)} tests are drawn." if len(drawn) > N_DRAWN else ""
    made = Figure(
        kind="multiples", id="comparison", title="Estimates side by side, with their intervals", alt="",
        caption=f"Each panel has its own scale; the dashed line is zero.{more}", panels=panels,
    )  # fmt: skip
    return replace(made, alt=in_words(made))


def _panel(test: ComparedTest, titles: tuple[str, ...], place: int) -> Figure:
    bounds = [finding.test.interval if finding else None for finding in test.findings]
    series = Series(
        name=test.name,
        x=titles,
        y=tuple(_finite(finding.test.estimate) if finding else None for finding in test.findings),
        low=tuple(_finite(bound.low) if bound else None for bound in bounds),
        high=tuple(_finite(bound.high) if bound else None for bound in bounds),
    )
    zero = Mark(at=0.0, label="")
    return Figure(
        kind="dots", id=f"comparison-{place}", title=test.name, alt="", series=(series,), marks=(zero,)
    )


def _finite(value: float) -> float | None:
    return float(value) if available(value) else None
