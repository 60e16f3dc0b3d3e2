"""``qloc docs``: the documentation, where the command is."""

from __future__ import annotations

import sys
from typing import Annotated

import click
import typer

from qloc.cli.shared import say


def docs(
    page: Annotated[
        str, typer.Argument(metavar="[PAGE[#SECTION]]", help="Without one, the pages are listed.")
    ] = "",
) -> None:
    """Read the documentation of this version, in Markdown: formulas, tests, files.

    On a terminal it opens in the pager ($PAGER).

    \b
    Examples:
      qloc docs
      qloc docs statistics
      qloc docs store#repair
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.documentation import pages, read, title

    if page:
        text = read(page)
        if sys.stdout.isatty():
            click.echo_via_pager(text)
        else:
            say(text.rstrip("\n"))
        return
    known = pages()
    width = max(map(len, known))
    for name, text in known.items():
        say(f"qloc docs {name:<{width}}   {title(text)}")
