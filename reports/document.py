"""What a report says, before anyone decides how it looks: frozen plain data that every renderer reads.

A :class:`Document` holds one :class:`Part` for each study; a part holds its :class:`Summary`, one
:class:`Section` for each question, and its :class:`Provenance`. A :class:`Figure` is data, not a picture.
Numbers stay at full precision here: renderers round them, all with :mod:`qloc.reports.result_text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from qloc.analysis.results import Cell, Role, TestResult

FigureKind = Literal["dots", "bars", "stacked", "lines", "profile", "heatmap", "multiples"]
ColumnKind = Literal["text", "count", "number", "p"]
AxisKind = Literal["number", "share", "count"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One thing drawn: a set of dots, a line, a part of every bar, or a row of a heatmap.

    Attributes
    ----------
    name : what the legend (or the heatmap's row) says.
    x : categories, or positions on a numeric axis.
    y : one value for each x; None where there is none.
    low, high : bounds of an interval for each x; empty where there are none.
    ticked : which cells of a heatmap get a dot; empty for none.
    """

    name: str
    x: tuple[Cell, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    ticked: tuple[bool, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A labelled position on the numeric axis, such as Otsu's threshold."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure as data.

    Attributes
    ----------
    kind : how it is drawn; ``multiples`` draws its ``panels`` beside each other.
    id : anchor, unique within a document.
    title : what is shown, one line.
    caption : what a reader must know to read it.
    alt : the figure in words, for whoever cannot see it.
    value_label : the axis of the values, with its unit.
    other_label : the other axis; empty where its categories say it all.
    axis : how values are written along their axis.
    limits : ends of the axis of the values; None leaves them to the data.
    source : name of the table it is drawn from.
    """

    kind: FigureKind
    id: str
    title: str
    alt: str
    series: tuple[Series, ...] = ()
    caption: str = ""
    value_label: str = ""
    other_label: str = ""
    axis: AxisKind = "number"
    limits: tuple[float, float] | None = None
    marks: tuple[Mark, ...] = ()
    panels: tuple[Figure, ...] = ()
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """A table as columns, at full precision.

    Attributes
    ----------
    heads : one heading for each column.
    columns : the cells of each column, all of one length.
    kinds : how each column is written and aligned.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[tuple[Cell, ...], ...]
    kinds: tuple[ColumnKind, ...]
    note: str = ""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.columns[0]) if self.columns else 0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A test, the sentence that it prints as, and the section that it stands in."""

    test: TestResult
    sentence: str
    section: str


SYNTHETIC = "Model or facts are made up for demonstration: nothing here is about a real model."
"""What a report on a synthetic study says before anything else."""


Groups = tuple[tuple[str, tuple[Finding, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was asked, what came out, and how sure that is; read in ten seconds.

    Attributes
    ----------
    headline : the verdicts counted, one sentence.
    digest : sha256 of the analysis plan, which says what is confirmatory; empty where there is no plan.
    held, failed, undecided : tests by verdict (undecided: also not identified), confirmatory ones first.
    measured : descriptive results, without a verdict.
    """

    headline: str
    digest: str = ""
    held: tuple[Finding, ...] = ()
    failed: tuple[Finding, ...] = ()
    undecided: tuple[Finding, ...] = ()
    measured: tuple[Finding, ...] = ()

    def roles(self) -> tuple[tuple[str, Groups], ...]:
        """What the plan confirms apart from what was only explored: title, and groups by verdict."""
        plan = f"the tests that analysis plan {self.digest[:12]} names" if self.digest else "named before"
        titled: tuple[tuple[Role, str], ...] = (
            ("confirmatory", f"Confirmatory: {plan}"),
            ("exploratory", "Exploratory: to be confirmed on other data"),
            ("descriptive", "Descriptive"),
        )
        found = ((title, self._groups(role)) for role, title in titled)
        return tuple((title, groups) for title, groups in found if groups)

    def _groups(self, role: Role) -> Groups:
        """Title and findings of each group that has any of this role."""
        named = (
            ("Held", self.held),
            ("Did not hold", self.failed),
            ("Stays open", self.undecided),
            ("Measured, without a verdict", self.measured),
        )
        chosen = ((title, tuple(f for f in findings if f.test.role == role)) for title, findings in named)
        return tuple((title, findings) for title, findings in chosen if findings)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question: the sentence that answers it, and what it rests on."""

    id: str
    title: str
    sentence: str
    findings: tuple[Finding, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[TableBlock, ...] = ()
    method: str = ""
    references: tuple[str, ...] = ()

    @property
    def lead(self) -> str:
        """The first sentence of the answer: what a reader gets who reads no further.

        Examples
        --------
        >>> Section(id="a", title="Do they?", sentence="By 0.4 at most. Yet not all.").lead
        'By 0.4 at most.'
        """
        found = re.match(r".*?[.!?](?=\s|$)", self.sentence, re.DOTALL)
        return found[0] if found else self.sentence


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the figures come from.

    Attributes
    ----------
    entries : name and value, as the analysis wrote them.
    counts : what entered and what was left out.
    plan : the analysis plan, as JSON text.
    """

    entries: tuple[tuple[str, str], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    plan: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One study.

    Attributes
    ----------
    notes : what a reader must know before any figure.
    """

    id: str
    title: str
    model: str
    facts: str
    synthetic: bool
    notes: tuple[str, ...] = ()
    summary: Summary
    sections: tuple[Section, ...]
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class ComparedTest:
    """One test in several studies: its finding in each, None where it was not made."""

    name: str
    question: str
    findings: tuple[Finding | None, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The tests of several studies side by side: as they are, as a table of text, and drawn."""

    tests: tuple[ComparedTest, ...]
    table: TableBlock
    figure: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report on one study, or on several and how they compare."""

    title: str
    parts: tuple[Part, ...]
    comparison: Comparison | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """Every source once, in the order of first use; a citation's number is its place here, from 1."""
        return unique(
            source for part in self.parts for section in part.sections for source in section.references
        )

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in the order of reading; a figure's number is its place here, from 1."""
        first = (self.comparison.figure,) if self.comparison and self.comparison.figure else ()
        return first + tuple(
            figure for part in self.parts for section in part.sections for figure in section.figures
        )


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order of first appearance.

    Examples
    --------
    >>> unique(["KN", "QL", "KN"])
    ('KN', 'QL')
    """
    return tuple(dict.fromkeys(names))
