"""The command line. ``main`` is the console script; every command has a module.

Rooms are imported by the commands when they run, so that ``--help`` is quick and needs none of them.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from qloc.cli.analyze import analyze
from qloc.cli.cite import cite
from qloc.cli.compare import compare
from qloc.cli.controls import controls
from qloc.cli.demo import demo
from qloc.cli.docs import docs
from qloc.cli.extract import extract
from qloc.cli.facts import facts
from qloc.cli.plan import plan
from qloc.cli.power import power
from qloc.cli.report import report
from qloc.cli.reproduce import reproduce
from qloc.cli.shared import INTERRUPTED, Command, Commands, interrupted, say
from qloc.cli.show import show
from qloc.cli.simulate import simulate
from qloc.cli.store import store
from qloc.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="qloc",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for command in (demo, extract, analyze, report, compare, controls, show, reproduce, simulate, power):
    app.command(cls=Command)(command)
app.add_typer(facts)
app.add_typer(store)
app.add_typer(plan)
app.command(cls=Command)(cite)
app.command(cls=Command)(docs)


def _version(asked: bool) -> None:
    if asked:
        say(f"qloc {__version__}")
        raise typer.Exit


@app.callback()
def qloc(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find out where a language model keeps a fact.

    Extract neuron attributions once, into a store; then test every hypothesis offline.

    \b
    Begin with:
      qloc demo                    two small trained models, from extraction to report
      qloc extract --help          your own model and facts
    """  # noqa: D301  (typer keeps what follows \b as it is)


def main() -> None:
    """Run a command; SIGTERM ends it as Ctrl-C does.

    OpenMP threads are told to sleep, not to spin, while they wait for each other: on a core that something
    else uses too, spinning makes torch several times slower at random. It helps only before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(prog_name="qloc")
    except KeyboardInterrupt:  # before or behind a command
        say(interrupted(None), err=True)
        sys.exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
