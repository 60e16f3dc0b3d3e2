r"""The files of a paper: ``main.tex``, which inputs all the others, and what each of them holds.

==================  ================================================================================
file                holds
==================  ================================================================================
main.tex            summary, answers, and every table and figure; pdfLaTeX compiles it
tables/NAME.tex     a table (booktabs, at most eight columns), of every question, and of all tests
tables/NAME.csv     the same at full precision, all rows and columns
figures/NAME.pdf    a figure, and NAME.svg the same
methods.tex         how the numbers were made, with citations
references.bib      every source, qloc, and the software in it; main.bbl the same, as BibTeX prints it
characters.tex      letters that pdfLaTeX has no font for
provenance.json     where the numbers come from, and the analysis plan
written.json        the sha256 of these files, so that the next report can remove what it does not write
==================  ================================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from qloc.reports import result_text
from qloc.reports.document import SYNTHETIC, Document, Figure, Part, Section, TableBlock
from qloc.reports.figures.print_files import print_files
from qloc.reports.paper.latex_tables import csv_table, latex_table
from qloc.reports.paper.latex_text import declarations, escape
from qloc.reports.paper.methods import bibliography, cite, methods, printed_bibliography
from qloc.text.rounding import available

MAIN: Final = "main.tex"
"""The file that inputs all others."""

FIRST_LINE: Final = "% Written by qloc report --format latex, which writes these files anew.\n"
"""Of ``main.tex``: by it a folder of such files is told from any other."""

_PREAMBLE: Final = r"""\documentclass[10pt,a4paper]{article}
\usepackage{iftex}
\ifPDFTeX
  \usepackage[T1]{fontenc}
  \usepackage[utf8]{inputenc}
  \usepackage{lmodern}
  \input{characters}
\else
  \usepackage{fontspec}
\fi
\usepackage{amsmath,amssymb}
\usepackage{array,booktabs,caption,graphicx}
\usepackage[margin=26mm]{geometry}
\captionsetup{font=small,labelfont=bf}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6em}
\extrafloats{200}
\sloppy
\begin{document}
"""


def paper(document: Document) -> dict[str, str | bytes]:
    """Write a document as the files of a paper.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    dict of str to str or bytes
        Path within a folder → the whole file. Equal documents give equal files.
    """
    tables = {name: block for part in document.parts for name, block in _tables(part)}
    if document.comparison:
        tables["comparison"] = document.comparison.table
    made: dict[str, str | bytes] = {}
    for name, block in tables.items():
        made[f"tables/{name}.tex"] = latex_table(block, name, whole=block.name in ("tests", "comparison"))
        made[f"tables/{name}.csv"] = csv_table(block)
    for figure in document.figures:
        for ending, content in print_files(figure).items():
            made[f"figures/{_name(figure.id)}.{ending}"] = content
    made["methods.tex"] = methods(document)
    made["references.bib"] = bibliography(document)
    made["main.bbl"] = printed_bibliography(document)
    made["provenance.json"] = _provenance(document)
    main = FIRST_LINE + _PREAMBLE + "\n\n".join(_document(document)) + "\n\n\\end{document}\n"
    read = (text for name, text in made.items() if isinstance(text, str) and name.endswith((".tex", ".bbl")))
    made["characters.tex"] = declarations([*read, main])
    return made | {MAIN: main}


def _name(text: str) -> str:
    """A name of a file, and of a label."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "unnamed"


def _tables(part: Part) -> Iterator[tuple[str, TableBlock]]:
    """Every table of a study by the name of its file: of all tests first."""
    if tests := _tests(part):
        yield _tests_name(part), tests
    for section in part.sections:
        for block in section.tables:
            yield _table_name(section, block), block


def _table_name(section: Section, block: TableBlock) -> str:
    return _name(f"{section.id}-{block.name}")


def _tests_name(part: Part) -> str:
    return _name("tests" if part.id == "study" else f"{part.id}-tests")


def _tests(part: Part) -> TableBlock | None:
    """Every test of a study with its verdict."""
    tests = [finding.test for section in part.sections for finding in section.findings]
    if not tests:
        return None
    return TableBlock(
        name="tests",
        title="Every test",
        heads=("test", "question", "estimate", "p", "verdict", "n"),
        columns=(
            tuple(test.name for test in tests),
            tuple(test.question for test in tests),
            tuple(result_text.estimate(test).replace(" ", "\u00a0") for test in tests),
            tuple(test.p_adjusted if available(test.p_adjusted) else test.p for test in tests),
            tuple(f"{test.verdict} ({test.role})" for test in tests),
            tuple(test.sizes() for test in tests),
        ),
        kinds=("text", "text", "text", "p", "text", "text"),
        note="p is adjusted where a test is one of a family.",
    )


def _document(document: Document) -> Iterator[str]:
    yield rf"{{\LARGE\bfseries\raggedright {escape(document.title)}\par}}"
    if document.comparison:
        if document.comparison.figure:
            yield _figure(document.comparison.figure)
        yield r"\input{tables/comparison}"
    for part in document.parts:
        yield from _part(part, document)
    yield r"\clearpage"
    yield r"\input{methods}"
    yield r"\bibliographystyle{plain}"
    yield r"\bibliography{references}"


def _part(part: Part, document: Document) -> Iterator[str]:
    if len(document.parts) > 1:
        yield rf"\clearpage\section*{{\raggedright {escape(part.title)}}}"
    if part.synthetic:
        yield rf"\fbox{{\parbox{{0.97\linewidth}}{{\textbf{{Synthetic.}} {escape(SYNTHETIC)}}}}}"
    if part.alerts:
        yield _items(rf"\textbf{{{escape(alert.kind)}}} {escape(alert.text)}" for alert in part.alerts)
    yield from map(escape, part.summary.sentences)
    yield rf"\textbf{{{escape(part.summary.headline)}}}"
    if part.summary.figure:
        yield _figure(part.summary.figure)
    if any(section.findings for section in part.sections):
        yield rf"\input{{tables/{_tests_name(part)}}}"
    for section in part.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield r"\clearpage"
    yield rf"\section*{{\raggedright {escape(section.heading)}}}"
    yield rf"\emph{{{escape(section.title)}}}"
    yield " ".join((escape(section.sentence), *map(cite, section.references)))
    said = [escape(finding.sentence) for finding in section.findings]
    checks = ((finding.test.name, check) for finding in section.findings for check in finding.test.checks)
    said += [f"{escape(name)}, check: {escape(check)}" for name, check in checks]
    if said:
        yield _items(iter(said))
    yield from map(_figure, section.figures)
    yield from (rf"\input{{tables/{_table_name(section, block)}}}" for block in section.tables)


def _items(entries: Iterator[str]) -> str:
    return "\n".join((r"\begin{itemize}", *(rf"\item {{}}{entry}" for entry in entries), r"\end{itemize}"))


def _figure(figure: Figure) -> str:
    name = _name(figure.id)
    caption = " ".join(filter(None, (f"{figure.title.rstrip('.')}.", figure.caption)))
    return "\n".join((
        r"\begin{figure}[!htbp]",
        rf"% {escape(figure.alt)}",
        r"\centering",
        rf"\includegraphics[width=\linewidth,height=0.78\textheight,keepaspectratio]{{figures/{name}.pdf}}",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{fig:{name}}}",
        r"\end{figure}",
    ))  # fmt: skip


def _provenance(document: Document) -> str:
    told = [
        {
            "title": part.title,
            "model": part.model,
            "facts": part.facts,
            "counts": dict(part.provenance.counts),
            "provenance": dict(part.provenance.entries),
            "plan": json.loads(part.provenance.plan) if part.provenance.plan else {},
        }
        for part in document.parts
    ]
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
