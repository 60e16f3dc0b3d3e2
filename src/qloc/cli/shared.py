"""What all commands share: options, how they say where a result lies, how errors end them."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from qloc.errors import InputError, QlocError, VerificationError, message
from qloc.text.printable import printable

if TYPE_CHECKING:
    from qloc.plan import AnalysisPlan
    from qloc.registration import Registration

_SAID: Final = "What is said"

Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.", rich_help_panel=_SAID)]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Append what happens to FILE, one JSON object a line.",
        rich_help_panel=_SAID,
    ),
]

# What a store was extracted from, where it lies elsewhere now.
ModelNow = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="Where its model is now. [default: as extracted]"),
]
FactsNow = Annotated[
    str | None,
    typer.Option("--facts", metavar="FACTS", help="Where its facts are now. [default: as extracted]"),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda:0 …, map. [default: auto]"),
]

INTERRUPTED: Final = 130
_ClickException: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""Click's own; typer has a copy of click in it."""

_RESUMABLE: Final = {
    "extract": "was extracted",
    "demo": "was extracted",
    "store push": "arrived",
    "store pull": "arrived",
    "store repair": "was run again",
}


class Command(TyperCommand):
    """A command whose help lists its options under headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a list of options for each heading, in the order of their first option."""
        listed: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                argument = parameter.param_type_name == "argument"
                heading = (
                    "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                )
                listed.setdefault(heading, []).append(record)
        last = ("Arguments", *(name for name in listed if name not in ("Arguments", _SAID, "Options")))
        for heading in (*last, _SAID, "Options"):
            if heading in listed:
                with formatter.section(heading):
                    formatter.write_dl(listed[heading], col_max=28)


class Commands(TyperGroup):
    """The commands, and how what they raise ends the program (exit codes: ``qloc.errors``).

    Every error becomes a message, without a traceback: those raised on purpose, and in
    :mod:`qloc.cli.last_resort` all others.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command; ``~`` begins a path also where the shell leaves it, as in ``--out=~/x``."""
        return super().parse_args(ctx, [_from_home(argument) for argument in args])

    def invoke(self, ctx: Any) -> Any:
        """Run a command; its errors become messages, and exit codes."""
        try:
            return super().invoke(ctx)
        except QlocError as error:
            say(told(error), err=True)
            raise typer.Exit(error.exit_code) from None
        except (_ClickException, typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # | head has read enough
                raise
            from qloc.cli.last_resort import let_go_of_stdout, unforeseen

            let_go_of_stdout()
            say(f"Error: {unforeseen(error)}", err=True)
            raise typer.Exit(QlocError.exit_code) from None
        except KeyboardInterrupt:
            say(interrupted(ctx.invoked_subcommand), err=True)
            raise typer.Exit(INTERRUPTED) from None


def say(text: str, *, err: bool = False, nl: bool = True, colour: str | None = None) -> None:
    """Print a text that may have words of a store: characters that would act on a terminal are escaped.

    A colour is shown on a terminal only, and not where NO_COLOR is set (https://no-color.org).
    """
    shown = printable(text)
    plain = colour is None or os.environ.get("NO_COLOR")
    typer.echo(shown if plain else typer.style(shown, fg=colour), err=err, nl=nl)


def _from_home(argument: str) -> str:
    flag, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return flag + equals + os.path.expanduser(value) if value.startswith("~") else argument


def told(error: QlocError) -> str:
    """What an error says: its message, or its problems as a list."""
    problems = error.problems if isinstance(error, InputError | VerificationError) else ()
    if len(problems) < 2:
        return f"Error: {error}"
    return "\n".join(["Errors:", *(f"  - {problem}" for problem in problems)])


def interrupted(command: str | None) -> str:
    """What to say after Ctrl-C or SIGTERM."""
    name = " ".join(sys.argv[1:3]) if command == "store" else command
    if name not in _RESUMABLE or "--dry-run" in sys.argv:
        return "\nInterrupted. Nothing half-written is left."
    again = shlex.join(["qloc", *sys.argv[1:]])
    return f"\nInterrupted. What {_RESUMABLE[name]} is kept; to go on, run again:\n  {again}"


def plan_given(
    path: Path | None, registration: Path | None = None
) -> tuple[AnalysisPlan | None, Registration | None]:
    """The analysis plan and the registration of two files, of which the first may be either."""
    from qloc.plan import plan_from
    from qloc.registration import registration_from

    locked = None
    if registration is not None and (locked := registration_from(registration)) is None:
        rule, action = "a file that `qloc plan lock` wrote", "Lock a plan first"
        raise InputError(message("registration", str(registration), rule, "--registration", action))
    if path is None:
        return None, locked
    if (found := registration_from(path)) is not None:
        return found.plan.analysis, locked or found
    return plan_from(path).analysis, locked


def conclude(result: str, *following: str, quiet: bool = False) -> None:
    """Say where the result lies, and what to run next."""
    if quiet:
        return
    say(result)
    if following:
        say("Next:")
        for line in following:
            say(f"  {line}")


def listed(names: str) -> tuple[str, ...]:
    """Return the names of a list that has commas between them.

    Parameters
    ----------
    names : str
        Such as ``H1a, H5a``.

    Returns
    -------
    tuple of str
        Without the spaces around them.

    Examples
    --------
    >>> listed("H1a, H5a")
    ('H1a', 'H5a')
    """
    return tuple(name.strip() for name in names.split(","))


def quoted(*words: object) -> str:
    """A command line that a shell takes as it stands."""
    return shlex.join(str(word) for word in words)
