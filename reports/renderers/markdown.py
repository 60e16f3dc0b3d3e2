"""A document as Markdown (GitHub's dialect), for repositories and issues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qloc.reports import result_text
from qloc.reports.document import SYNTHETIC, Document, Figure, Finding, Part, Section, Summary, TableBlock
from qloc.text import rounding

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_LINE_START = re.compile(r"^(\s*)([-+=>]|\d+(?=[.)]\s))")


def escape(text: str) -> str:
    r"""Write text so that Markdown shows it as it is.

    It is on one line, without markup, HTML, tables or headings of its own.

    Parameters
    ----------
    text : str
        Anybody's.

    Returns
    -------
    str
        Escaped.

    Examples
    --------
    >>> print(escape("<b> | *France*"))
    \<b\> \| \*France\*
    """
    line = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return _LINE_START.sub(r"\1\\\2" if not line[:1].isdigit() else r"\1\2\\", line)


def render(document: Document) -> str:
    """Write a document as Markdown.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    str
        The whole file.
    """
    return "\n\n".join(_document(document)) + "\n"


def _document(document: Document) -> Iterator[str]:
    yield f"# {escape(document.title)}"
    if document.comparison:
        yield from _table(document.comparison.table)
        if document.comparison.figure:
            yield _figure(document.comparison.figure)
    for part in document.parts:
        yield from _part(part, document)
    if document.references:
        yield "## References"
        yield "\n".join(f"{n}. {escape(text)}" for n, text in enumerate(document.references, start=1))


def _part(part: Part, document: Document) -> Iterator[str]:
    if len(document.parts) > 1:
        yield f"## {escape(part.title)}"
    if part.synthetic:
        yield f"> **Synthetic.** {SYNTHETIC}"
    yield f"**Model:** {escape(part.model)}  \n**Asked:** {escape(part.facts)}"
    yield from (escape(note) for note in part.notes)
    if part.alerts:
        yield "\n".join(f"- **{escape(alert.kind)}** {escape(alert.text)}" for alert in part.alerts)
    yield from _summary(part.summary)
    for section in part.sections:
        yield from _section(section, document)
    yield "## Provenance"
    counts = [(name, rounding.number(count)) for name, count in part.provenance.counts]
    for head, pairs in (("entered or left out", counts), ("what", list(part.provenance.entries))):
        if pairs:
            yield _grid((head, ""), pairs, (False, head != "what"))
    if part.provenance.plan:
        fence = "`" * (3 + max((len(run) for run in re.findall("`+", part.provenance.plan)), default=0))
        yield f"{fence}json\n{part.provenance.plan}\n{fence}"


def _summary(summary: Summary) -> Iterator[str]:
    yield from (escape(sentence) for sentence in summary.sentences)
    if summary.predictions:
        rows = [
            (
                one.account,
                one.claim,
                "open" if one.seen is None else "seen" if one.seen else "contradicted",
                one.finding.test.name,
            )
            for one in summary.predictions
        ]
        yield _grid(("account", "predicts that", "was", "test"), rows, (False,) * 4)
    if summary.figure:
        yield _figure(summary.figure)
    yield f"**{escape(summary.headline)}**"
    for role, groups in summary.roles():
        yield f"### {escape(role)}"
        for title, findings in groups:
            yield f"**{title}**"
            yield "\n".join(map(_line, findings))


def _line(finding: Finding) -> str:
    test = finding.test
    return f"- **{escape(test.name)}** {escape(test.question)} {escape(result_text.outcome(test))}"


def _section(section: Section, document: Document) -> Iterator[str]:
    yield f"## {escape(section.heading)}"
    yield f"*{escape(section.title)}*"
    yield escape(section.sentence)
    if section.findings:
        yield "\n".join(f"- {escape(finding.sentence)}" for finding in section.findings)
    checks = [(f.test.name, check) for f in section.findings for check in f.test.checks]
    if checks:
        yield "\n".join(f"- {escape(name)}, check: {escape(check)}" for name, check in checks)
    yield from map(_figure, section.figures)
    for table in section.tables:
        yield from _table(table)
    if section.method:
        yield "### Method"
        yield from (escape(paragraph) for paragraph in section.method.split("\n\n"))
    if section.references:
        places = (document.references.index(text) + 1 for text in section.references)
        yield f"References: {', '.join(map(str, places))}."


def _figure(figure: Figure) -> str:
    caption = f" {escape(figure.caption)}" if figure.caption else ""
    return f"*Figure.* {escape(figure.alt)}{caption}"


def _table(table: TableBlock) -> Iterator[str]:
    yield f"**{escape(table.title)}**"
    if not table.n_rows:
        yield "No rows."
    elif table.heads:
        text = result_text.laid_out(table)
        yield _grid(text.heads, text.rows, text.numeric)
    if table.note:
        yield f"*{escape(table.note)}*"


def _grid(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[bool, ...]) -> str:
    lines = [" | ".join(map(escape, heads)), " | ".join("---:" if flag else "---" for flag in right)]
    lines += [" | ".join(map(escape, row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
