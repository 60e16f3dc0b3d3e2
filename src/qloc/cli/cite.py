"""``qloc cite``: whom to cite for what was used."""

from __future__ import annotations

from typing import Annotated

import typer

from qloc.cli.shared import say
from qloc.references import BIBLIOGRAPHY, bibtex_of


def cite(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STORE|RESULTS]…", help="What to cite for, stores also by URL; without one, everything."
        ),
    ] = None,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="As BibTeX, with entries for qloc and the software in it.")
    ] = False,
) -> None:
    """List the references of every method, edit and data set that stores or results used.

    \b
    Examples:
      qloc cite
      qloc cite gpt2.zarr gpt2-results
      qloc cite --bibtex gpt2.zarr > qloc.bib
      qloc cite s3://bucket/gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.cite import cite as cited

    lines = cited(paths) if paths else [reference.line() for reference in BIBLIOGRAPHY.values()]
    if bibtex:
        say(bibtex_of(lines), nl=False)
        return
    for line in lines:
        say(line)
