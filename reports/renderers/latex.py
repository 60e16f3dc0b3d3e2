"""A document as a LaTeX article.

pdfLaTeX compiles Latin script and the signs of this package's formulas; XeLaTeX and LuaLaTeX, all that their
font has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qloc.reports import result_text
from qloc.reports.document import SYNTHETIC, Document, Figure, Part, Section, Summary, TableBlock
from qloc.reports.result_text import LaidOut
from qloc.text import rounding

_PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage{iftex}
\ifPDFTeX
  \usepackage[T1]{fontenc}
  \usepackage[utf8]{inputenc}
  \usepackage{lmodern}
\else
  \usepackage{fontspec}
\fi
\usepackage{amsmath,amssymb}
\usepackage{array,booktabs,longtable}
\usepackage[margin=25mm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6em}
\setlength{\emergencystretch}{3em}
\begin{document}
"""

_WIDTH, _GAP, _LINE = 455, 4, 92
"""Of the text: in points; on either side of a column, in points; in characters."""

_PAIRS = r"p{0.35\linewidth}>{\raggedright\arraybackslash}p{0.55\linewidth}"

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "--": "-{}-{}",
}  # fmt: skip
_MATH = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "Δ": r"\Delta", "ε": r"\varepsilon",
    "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ρ": r"\rho", "σ": r"\sigma", "Σ": r"\sum", "τ": r"\tau",
    "∑": r"\sum", "∩": r"\cap", "∪": r"\cup", "∖": r"\setminus", "∈": r"\in", "×": r"\times", "·": r"\cdot",
    "−": "-", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "→": r"\to", "←": r"\gets",
    "⇐": r"\Leftarrow", "⊙": r"\odot", "∫": r"\int", "∂": r"\partial", "∇": r"\nabla", "√": r"\surd",
    "∞": r"\infty", "‖": r"\Vert", "⟨": r"\langle", "⟩": r"\rangle", "±": r"\pm", "′": "'",
    "w̄": r"\bar w", "b̄": r"\bar b",
    "²": "^2", "³": "^3", "½": r"\tfrac12", "₀": "_0", "₁": "_1", "₂": "_2", "ᵢ": "_i", "★": r"\star",
    "✓": r"\checkmark", "✕": r"\times", "∅": r"\varnothing",
    "⁻": "^{-}", "⁰": "^0", "¹": "^1", "⁴": "^4", "⁵": "^5", "⁶": "^6", "⁷": "^7", "⁸": "^8", "⁹": "^9",
}  # fmt: skip
_WRITTEN = {
    **_SPECIAL,
    **{sign: rf"\ensuremath{{{command}}}" for sign, command in _MATH.items()},
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", "\u00a0": "~",
}  # fmt: skip
_FIND = re.compile("|".join(re.escape(sign) for sign in sorted(_WRITTEN, key=len, reverse=True)))


def escape(text: str) -> str:
    r"""Write text so that LaTeX shows it as it is, on one line.

    Parameters
    ----------
    text : str
        Anybody's.

    Returns
    -------
    str
        Without a command of its own.

    Examples
    --------
    >>> print(escape("50% of $x_1$ & κ ≥ 0.2"))
    50\% of \$x\_1\$ \& \ensuremath{\kappa} \ensuremath{\ge} 0.2
    """
    return _FIND.sub(lambda found: _WRITTEN[found[0]], " ".join(text.split()))


def render(document: Document) -> str:
    """Write a document as LaTeX.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    str
        The whole file.
    """
    return _PREAMBLE + "\n\n".join(_document(document)) + "\n\n\\end{document}\n"


def _document(document: Document) -> Iterator[str]:
    yield rf"{{\LARGE\bfseries {escape(document.title)}\par}}"
    if document.comparison:
        yield from _table(document.comparison.table)
        if document.comparison.figure:
            yield _figure(document.comparison.figure)
    for part in document.parts:
        yield from _part(part, document)
    if document.references:
        entries = (rf"\bibitem{{r{n}}} {escape(text)}" for n, text in enumerate(document.references, start=1))
        yield "\n".join((r"\begin{thebibliography}{99}", *entries, r"\end{thebibliography}"))


def _part(part: Part, document: Document) -> Iterator[str]:
    if len(document.parts) > 1:
        yield rf"\section*{{{escape(part.title)}}}"
    if part.synthetic:
        yield rf"\fbox{{\parbox{{0.97\linewidth}}{{\textbf{{Synthetic.}} {escape(SYNTHETIC)}}}}}"
    yield rf"\textbf{{Model:}} {escape(part.model)}\\ \textbf{{Asked:}} {escape(part.facts)}"
    yield from (escape(note) for note in part.notes)
    if part.alerts:
        yield _items([rf"\textbf{{{escape(alert.kind)}}} {escape(alert.text)}" for alert in part.alerts])
    yield from _summary(part.summary)
    for section in part.sections:
        yield from _section(section, document)
    yield r"\section*{Provenance}"
    counts = [(name, rounding.number(count)) for name, count in part.provenance.counts]
    for pairs in (counts, list(part.provenance.entries)):
        if pairs:
            yield _grid(("what", "value"), pairs, _PAIRS)
    if part.provenance.plan:
        lines = (escape(line).join((_indent(line), r"\\")) for line in part.provenance.plan.splitlines())
        yield "{\\small\\ttfamily\\raggedright\n" + "\n".join(lines) + "\n\\par}"


def _summary(summary: Summary) -> Iterator[str]:
    yield from map(escape, summary.sentences)
    yield rf"\textbf{{{escape(summary.headline)}}}"
    for role, groups in summary.roles():
        yield rf"\subsection*{{{escape(role)}}}"
        for title, findings in groups:
            yield rf"\textbf{{{title}}}"
            yield _items(
                rf"\textbf{{{escape(test.name)}}} {escape(test.question)} {escape(result_text.outcome(test))}"
                for test in (finding.test for finding in findings)
            )


def _section(section: Section, document: Document) -> Iterator[str]:
    places = (rf"\cite{{r{document.references.index(text) + 1}}}" for text in section.references)
    yield rf"\section*{{{escape(section.heading)}}}"
    yield rf"\emph{{{escape(section.title)}}}"
    yield " ".join((escape(section.sentence), *places))
    said = [escape(finding.sentence) for finding in section.findings]
    checks = ((finding.test.name, check) for finding in section.findings for check in finding.test.checks)
    said += [f"{escape(name)}, check: {escape(check)}" for name, check in checks]
    if said:
        yield _items(said)
    yield from map(_figure, section.figures)
    for table in section.tables:
        yield from _table(table)
    if section.method:
        yield r"\paragraph{Method}"
        yield from (escape(paragraph) for paragraph in section.method.split("\n\n"))


def _items(entries: Iterator[str] | Sequence[str]) -> str:
    return "\n".join((r"\begin{itemize}", *(rf"\item {{}}{entry}" for entry in entries), r"\end{itemize}"))


def _figure(figure: Figure) -> str:
    return rf"\emph{{Figure.}} {escape(figure.alt)} {escape(figure.caption)}".rstrip()


def _table(table: TableBlock) -> Iterator[str]:
    yield rf"\textbf{{{escape(table.title)}}}"
    if not table.n_rows:
        yield "No rows."
    elif table.heads:
        text = result_text.laid_out(table)
        yield _grid(text.heads, text.rows, _columns(text))
    if table.note:
        yield rf"{{\small {escape(table.note)}}}"


def _columns(text: LaidOut) -> str:
    """As wide as their contents where these fit, else shares of the line, in which cells are broken."""
    sizes = [max(map(len, cells)) for cells in zip(text.heads, *text.rows, strict=True)]
    if sum(sizes) + 2 * len(sizes) <= _LINE:
        return "".join("r" if numeric else "l" for numeric in text.numeric)
    needs = [min(max(size, 4), _LINE // 2) for size in sizes]
    room = 0.99 - len(needs) * 2 * _GAP / _WIDTH
    return "".join(
        rf">{{\{'raggedleft' if numeric else 'raggedright'}\arraybackslash}}"
        rf"p{{{room * need / sum(needs):.4f}\linewidth}}"
        for need, numeric in zip(needs, text.numeric, strict=True)
    )


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]], columns: str) -> str:
    lines = [rf"\begin{{longtable}}{{{columns}}}", r"\toprule", _row(heads), r"\midrule", r"\endhead"]
    lines += [_row(row) for row in rows]
    opening = rf"{{\footnotesize\setlength{{\tabcolsep}}{{{_GAP}pt}}"
    return "\n".join((opening, *lines, r"\bottomrule", r"\end{longtable}", "}"))


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _indent(line: str) -> str:
    return "~" * (len(line) - len(line.lstrip()))
