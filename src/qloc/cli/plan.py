"""``qloc plan lock``: a plan that is fixed before looking."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloc.cli.shared import Command, conclude, quoted

plan = typer.Typer(
    name="plan",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Fix a plan before looking.",
)


@plan.callback()
def _plan() -> None:
    """Make ``lock`` a command of a group of one."""


@plan.command(cls=Command)
def lock(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A plan, YAML.")],
    stores: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="STORE", help="A store that is there already; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The registration. [default: beside the plan, .lock.json]"
        ),
    ] = None,
) -> None:
    """Write a dated, hashed registration of a plan: the plan, versions, and what had been extracted.

    Give the registration to `qloc analyze --plan` in place of the plan: reports then say when it was fixed,
    and list every deviation from it. Nothing but its date and digest shows that it was not written
    afterwards: publish it, or commit it, before you look.

    \b
    Examples:
      qloc plan lock plan.yaml
      qloc plan lock plan.yaml --store gpt2.zarr --out registration.json
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.register import lock_plan

    written = lock_plan(file, out, stores or [])
    conclude(f"Registration: {written}", quoted("qloc", "analyze", "STORE", "--plan", written))
