"""One figure of all effects in standardized units, those of the plan first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qloc.analysis.results import MARKS, TestResult
from qloc.hypothesis_registry import REGISTRY
from qloc.reports.document import Figure, Finding, Mark, Series, unique
from qloc.reports.figures.alt_text import in_words
from qloc.text.rounding import available

N_ROWS: Final = 24
"""Effects that are drawn; the tests below have all."""

_ROLES: Final = ("confirmatory", "exploratory")


def forest(studies: Sequence[tuple[str, Sequence[Finding]]], id: str, title: str) -> Figure | None:
    """Draw the standardized effects of one study, or of several beside each other.

    Parameters
    ----------
    studies : sequence of (str, sequence of Finding)
        Name and findings of each; of a single study the roles are told apart instead.
    id : str
        Anchor of the figure.
    title : str
        One line.

    Returns
    -------
    Figure or None
        None where no test has a standardized effect.
    """
    named = [
        (name, {f.test.name: f.test for f in findings if _drawable(f.test)}) for name, findings in studies
    ]
    order = [test for role in _ROLES for _, tests in named for test in tests.values() if test.role == role]
    names = unique(test.name for test in order)
    if not names:
        return None
    drawn = {name: [tests[name] for _, tests in named if name in tests] for name in names[:N_ROWS]}
    asked = [tests[0].question for tests in drawn.values()]
    rows = {name: _label(name, tests, asked.count(tests[0].question) > 1) for name, tests in drawn.items()}
    series = tuple(filter(None, _series(named, rows)))
    units = unique(test.effect.name for test in order if test.effect)
    more = f" The first {N_ROWS} of {len(names)} are drawn." if len(names) > N_ROWS else ""
    made = Figure(
        kind="forest", id=id, title=title, alt="", series=series, marks=(Mark(at=0.0, label=""),),
        value_label="standardized effect",
        caption=f"Units: {', '.join(units)}. Dashed: no effect. An arrow: the interval goes on.{more} "
        "Confirmatory effects stand first.",
    )  # fmt: skip
    return replace(made, alt=in_words(made))


def _drawable(test: TestResult) -> bool:
    return test.role in _ROLES and test.effect is not None and available(test.effect.value)


def _label(name: str, tests: Sequence[TestResult], shared: bool) -> str:
    """Verdict's mark, name and question of a row; of several studies that disagree, no mark.

    A name that is no hypothesis's says what the question says, and is left out unless others ask the same.
    """
    marks = {MARKS[test.verdict] for test in tests}
    mark = f"{marks.pop()} " if len(marks) == 1 else ""
    named = f"{name}: " if name in REGISTRY or shared else ""
    return f"{mark}{named}{tests[0].question}"


def _series(
    named: Sequence[tuple[str, dict[str, TestResult]]], rows: dict[str, str]
) -> tuple[Series | None, ...]:
    """One a study, or one a role where there is one study."""
    if len(named) > 1:
        return tuple(_one(study, tests, rows) for study, tests in named)
    tests = named[0][1]
    return tuple(
        _one(role, {name: test for name, test in tests.items() if test.role == role}, rows) for role in _ROLES
    )


def _one(title: str, tests: dict[str, TestResult], rows: dict[str, str]) -> Series | None:
    drawn = [(row, tests[name].effect) for name, row in rows.items() if name in tests]
    effects = [(row, effect, effect.interval) for row, effect in drawn if effect]
    if not effects:
        return None
    return Series(
        name=title,
        x=tuple(row for row, _, _ in effects),
        y=tuple(float(effect.value) for _, effect, _ in effects),
        low=tuple(_finite(ends.low) if ends else None for _, _, ends in effects),
        high=tuple(_finite(ends.high) if ends else None for _, _, ends in effects),
    )


def _finite(value: float) -> float | None:
    return float(value) if available(value) else None
