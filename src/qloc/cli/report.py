"""``qloc report``: results as a page, a text or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloc.cli.shared import conclude, quoted


def report(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS…", help="Folders that `qloc analyze` wrote.")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="html|md|latex|json",
            help="What to write. [default: as --out ends, else html]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file; for latex a folder. [default: report.html, .md or .json; paper]",
        ),
    ] = None,
) -> None:
    """Render results: one page with every figure, number and reference.

    The HTML page stands alone: it loads nothing from outside. The same results give the same bytes. Several
    results are shown side by side.

    latex writes a folder for a paper: each table as .tex and .csv, each figure as .pdf and .svg, methods.tex,
    references.bib, and main.tex, which has them all.

    \b
    Examples:
      qloc report gpt2-results
      qloc report gpt2-results llama-results --format latex --out paper
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.analyze import report as reported

    path = reported(results, format, out)
    following = [f"open {path} in a browser"] if path.suffix == ".html" else []
    following += (
        [f"{quoted('cd', path.parent)} && pdflatex main && pdflatex main"] if path.suffix == ".tex" else []
    )
    conclude(f"Report: {path}", *following)
