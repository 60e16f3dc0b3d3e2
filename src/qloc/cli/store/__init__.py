"""``qloc store``: look into stores, make sure of them, and share them."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from qloc.cli.shared import Command, conclude, quoted
from qloc.cli.store.hdf5_and_json import export, import_
from qloc.cli.store.repair import repair
from qloc.cli.store.sharing import diff, merge, pack, pull, push, unpack

store = typer.Typer(
    name="store",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look into stores; verify and repair them; share them.",
)

StorePath = Annotated[
    str, typer.Argument(metavar="STORE", help="A store that qloc wrote, packed or not, or the URL of one.")
]


@store.command(cls=Command)
def info(
    path: StorePath,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Tell all labels and relations, fingerprints, and the plan and run too."),
    ] = False,
) -> None:
    """Tell what is in a store, how complete and how large it is, and which analyses it allows.

    On one screen; --all tells the rest. Works on unfinished stores too. To be sure that nothing is damaged,
    use `qloc store verify`.

    \b
    Examples:
      qloc store info gpt2.zarr
      qloc store info gpt2.zarr --all
      qloc store info s3://bucket/gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.reading.info import info as informed
    from qloc.store.reading.info import info_text

    found = informed(path)
    following = [quoted("qloc", "analyze", path), quoted("qloc", "store", "verify", path)]
    if not found["complete"]:
        following = ["the qloc extract command that began it, to complete it", following[0]]
    width = max(60, shutil.get_terminal_size((100, 40)).columns)
    conclude(info_text(found, everything=everything, width=width), *following)


@store.command(cls=Command)
def verify(path: StorePath) -> None:
    """Compare every byte of a store with its manifest.

    Finds any flipped bit, and any missing, extra or swapped object, and says which array and queries it hits.
    Exit code 0: the store is what was written. 3: it is not; every problem is listed.

    \b
    Example:
      qloc store verify gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.errors import VerificationError
    from qloc.store.integrity.verify import verify as verified

    if problems := verified(path):
        raise VerificationError(problems)
    conclude(f"{path}: every byte is as it was written.", quoted("qloc", "analyze", path))


for command in (repair, pack, unpack, push, pull, export, import_, diff, merge):
    store.command(command.__name__.rstrip("_"), cls=Command)(command)
