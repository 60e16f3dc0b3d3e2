"""What a report says, before anyone decides how it looks: frozen plain data that every renderer reads.

A :class:`Document` holds one :class:`Part` for each study; a part holds its :class:`Summary`, one
:class:`Section` for each question, and its :class:`Provenance`. A :class:`Figure` is data, not a picture.
Numbers stay at full precision here: renderers round them, all with :mod:`qloc.reports.result_text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from qloc.analysis.results import Alert, Cell, Role, TestResult
from qloc.text.sentences import first_sentence

FigureKind = Literal[
    "dots", "bars", "stacked", "lines", "profile", "heatmap", "forest", "violins", "multiples"
]
ColumnKind = Literal["text", "count", "number", "p"]
AxisKind = Literal["number", "share", "count"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One thing drawn: a set of dots, a line, a part of every bar, or a row of a heatmap.

    Attributes
    ----------
    name : str
        What the legend (or the heatmap's row) says.
    x : tuple of Cell
        Categories, or positions on a numeric axis.
    y : tuple of float or None
        One value for each x; None where there is none.
    low, high : tuple of float or None
        Bounds of an interval for each x; empty where there are none.
    ticked : tuple of bool
        Which cells of a heatmap get a frame; empty for none.
    """

    name: str
    x: tuple[Cell, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    ticked: tuple[bool, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A labelled position on the numeric axis, such as Otsu's threshold.

    Attributes
    ----------
    at : float
        Position on the axis, in its unit.
    label : str
        What stands beside it; empty for none.
    """

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure as data.

    Attributes
    ----------
    kind : FigureKind
        How it is drawn; ``multiples`` draws its ``panels`` beside each other.
    id : str
        Anchor, unique within a document.
    title : str
        What is shown, one line.
    alt : str
        The figure in words, for whoever cannot see it.
    series : tuple of Series
        What is drawn; empty where there are panels.
    caption : str
        What a reader must know to read it.
    value_label : str
        The axis of the values, with its unit.
    other_label : str
        The other axis; empty where its categories say it all.
    axis : AxisKind
        How values are written along their axis.
    limits : tuple of (float, float) or None
        Ends of the axis of the values; None leaves them to the data.
    marks : tuple of Mark
        Labelled positions on the axis of the values.
    panels : tuple of Figure
        Small charts, drawn beside each other.
    source : str
        Name of the table it is drawn from.
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
    name : str
        The table's name in the results.
    title : str
        What is shown, one line.
    heads : tuple of str
        One heading for each column.
    columns : tuple of (tuple of Cell, ...)
        The cells of each column, all of one length.
    kinds : tuple of ColumnKind
        How each column is written and aligned.
    note : str
        What a reader must know to read it.
    keys : tuple of str
        Names of the columns; ``NAME_low`` and ``NAME_high`` are the interval of ``NAME``, and bare ``low``
        and ``high`` that of the column before. Empty where no column is an interval's end.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[tuple[Cell, ...], ...]
    kinds: tuple[ColumnKind, ...]
    note: str = ""
    keys: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.columns[0]) if self.columns else 0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A test, the sentence that it prints as, and the section that it stands in.

    Attributes
    ----------
    test : TestResult
        At full precision.
    sentence : str
        What the test prints as.
    section : str
        Id of the section.
    anchor : str
        Its own, unique within a document; empty where it has none.
    """

    test: TestResult
    sentence: str
    section: str
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What an account predicts for one test, and whether it was seen.

    Attributes
    ----------
    account : str
        Its name, such as ``Knowledge Localization``.
    says : str
        What the account says, as a clause.
    claim : str
        What it predicts, as a clause.
    seen : bool or None
        Whether the test found that; None where it is open.
    finding : Finding
        The test.
    """

    account: str
    says: str
    claim: str
    seen: bool | None
    finding: Finding


SYNTHETIC = "Model or facts are made up for demonstration: nothing here is about a real model."
"""What a report on a synthetic study says before anything else."""


Groups = tuple[tuple[str, tuple[Finding, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was asked, what came out, and how sure that is; read in ten seconds.

    Attributes
    ----------
    headline : str
        The verdicts counted, one sentence.
    digest : str
        sha256 of the analysis plan, which says what is confirmatory; empty where there is no plan.
    held, opposite, equal, undecided, untold : tuple of Finding
        Tests by verdict, confirmatory ones first: what was asked holds, its opposite holds, no relevant
        difference, undecided, and cannot be told (also: not identified).
    measured : tuple of Finding
        Descriptive results, without a verdict.
    sentences : tuple of str
        What came out, in three to five sentences; empty for results of older versions.
    predictions : tuple of Prediction
        What each account predicts, and what was seen.
    figure : Figure or None
        Every tested effect in standardized units, confirmatory ones first.
    """

    headline: str
    digest: str = ""
    held: tuple[Finding, ...] = ()
    opposite: tuple[Finding, ...] = ()
    equal: tuple[Finding, ...] = ()
    undecided: tuple[Finding, ...] = ()
    untold: tuple[Finding, ...] = ()
    measured: tuple[Finding, ...] = ()
    sentences: tuple[str, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    figure: Figure | None = None

    def roles(self) -> tuple[tuple[str, Groups], ...]:
        """Tell what the plan confirms from what was only explored.

        Returns
        -------
        tuple of (tuple of (str, Groups), ...)
            Title of each role that has findings, and its groups: a verdict's title and the findings.
        """
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
            ("Holds", self.held),
            ("The opposite holds", self.opposite),
            ("No relevant difference", self.equal),
            ("Undecided", self.undecided),
            ("Cannot be told", self.untold),
            ("Measured, without a verdict", self.measured),
        )
        chosen = ((title, tuple(f for f in findings if f.test.role == role)) for title, findings in named)
        return tuple((title, findings) for title, findings in chosen if findings)


LONGEST_HEADING: Final = 150
"""Letters of a heading, at most."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question: the sentence that answers it, and what it rests on.

    Attributes
    ----------
    id : str
        Anchor, unique within a document.
    title : str
        The question.
    sentence : str
        The answer, whole.
    findings : tuple of Finding
        Tests that the answer rests on.
    figures : tuple of Figure
        Figures drawn from the tables.
    tables : tuple of TableBlock
        Every table of the question.
    method : str
        How the numbers were made; paragraphs part at empty lines.
    references : tuple of str
        Lines of the bibliography.
    """

    id: str
    title: str
    sentence: str
    findings: tuple[Finding, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[TableBlock, ...] = ()
    method: str = ""
    references: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The finding as a heading: the lead without its brackets, or the question where that is long.

        Examples
        --------
        >>> Section(id="a", title="Do they?", sentence="They do (0.4 [0.3, 0.5]). Yet not all.").heading
        'They do'
        """
        short = re.sub(r"\s*\([^()]*\)", "", self.lead).rstrip(".").strip()
        return short if 0 < len(short) <= LONGEST_HEADING else self.title

    @property
    def lead(self) -> str:
        """The first sentence of the answer: what a reader gets who reads no further.

        Examples
        --------
        >>> Section(id="a", title="Do they?", sentence="By 0.4 at most. Yet not all.").lead
        'By 0.4 at most.'
        """
        return first_sentence(self.sentence)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the figures come from.

    Attributes
    ----------
    entries : tuple of (tuple of (str, str), ...)
        Name and value, as the analysis wrote them.
    counts : tuple of (tuple of (str, int), ...)
        What entered and what was left out.
    plan : str
        The analysis plan, as JSON text.
    """

    entries: tuple[tuple[str, str], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    plan: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was asked and what came out.

    Attributes
    ----------
    id : str
        Anchor, unique within a document.
    title : str
        Model and facts, one line.
    model : str
        The model with its type and size.
    facts : str
        The facts with how many were asked.
    synthetic : bool
        Whether model or facts are made up for demonstration.
    notes : tuple of str
        What a reader must know before any figure.
    alerts : tuple of Alert
        What may spoil the study, found in its numbers; ``question`` is the anchor of a section, or empty.
    summary : Summary
        What was asked and what came out.
    sections : tuple of Section
        One a question, in the order of the analysis.
    provenance : Provenance
        Where the figures come from.
    """

    id: str
    title: str
    model: str
    facts: str
    synthetic: bool
    notes: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    summary: Summary
    sections: tuple[Section, ...]
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class ComparedTest:
    """One test in several studies: its finding in each, None where it was not made.

    Attributes
    ----------
    name : str
        Such as ``H1a``.
    question : str
        What it asks.
    unit : str
        Unit of inference.
    role : Role
        Confirmatory where it is in any of the studies.
    findings : tuple of Finding or None
        One a study, in their order; None where the test was not made.
    """

    name: str
    question: str
    unit: str
    role: Role
    findings: tuple[Finding | None, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The tests of several studies side by side: as they are, as a table of text, and drawn.

    Attributes
    ----------
    tests : tuple of ComparedTest
        Every test of any of the studies.
    table : TableBlock
        The same as text.
    figure : Figure or None
        Estimates drawn; None where no test has one.
    """

    tests: tuple[ComparedTest, ...]
    table: TableBlock
    figure: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report on one study, or on several and how they compare.

    Attributes
    ----------
    title : str
        One line.
    parts : tuple of Part
        One a study.
    comparison : Comparison or None
        How the studies compare; None for one study.
    """

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
        found = list(first)
        for part in self.parts:
            found += [part.summary.figure] if part.summary.figure and not self.comparison else []
            found += [figure for section in part.sections for figure in section.figures]
        return tuple(found)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, in the order of first appearance.

    Parameters
    ----------
    names : iterable of str
        With repetitions.

    Returns
    -------
    tuple of str
        Without.

    Examples
    --------
    >>> unique(["KN", "QL", "KN"])
    ('KN', 'QL')
    """
    return tuple(dict.fromkeys(names))
