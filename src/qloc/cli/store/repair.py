"""``qloc store repair``: make a damaged store whole again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qloc.cli.shared import Device, FactsNow, Log, ModelNow, Quiet, conclude, quoted
from qloc.progress import Progress
from qloc.text.rounding import counted

if TYPE_CHECKING:
    from qloc.workflows.repair import Mended


def repair(
    path: Annotated[str, typer.Argument(metavar="STORE", help="A damaged store, as a folder.")],
    model: ModelNow = None,
    facts: FactsNow = None,
    sets: Annotated[
        str | None,
        typer.Option("--sets", metavar="FILE", help="Where its own sets are now. [default: as extracted]"),
    ] = None,
    device: Device = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take other bytes than the manifest says, and say so in it.")
    ] = False,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Make a damaged store again what its manifest says, bit for bit.

    Metadata, card and labels are rebuilt from the store itself, without a model. Where facts or numbers are
    damaged, only the units that they come from are run again, signals first, then interventions and edits;
    model, facts, own sets and parameters must be those of the store. What is no part of the store is moved to
    STORE.removed. A store whose units are all there, but whose assembling was interrupted, is completed.

    An object takes its place only with the sha256 that the manifest says. On another device the numbers
    differ in their last bits: with --accept they are taken, all arrays take the whole units, and the manifest
    lists them. Exit code 3: not all could be rebuilt; every object is named.

    \b
    Examples:
      qloc store repair gpt2.zarr
      qloc store repair gpt2.zarr --model ./gpt2 --facts facts.jsonl
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.repair import repair_store

    with Progress(quiet=quiet, log=log) as progress:
        flags = {"model": model, "facts": facts, "sets": sets, "device": device}
        done = repair_store(path, **flags, accept=accept, progress=progress)
    conclude(
        _told(done), quoted("qloc", "store", "verify", path), quoted("qloc", "analyze", path), quiet=quiet
    )


def _told(done: Mended) -> str:
    if done.repaired is None:
        return f"{done.path}: every unit was there; the store is complete now."
    found = done.repaired
    lines = [f"Moved: {moved}, which was no part of the store." for moved in found.set_aside]
    if found.accepted:
        lines.append(f"Accepted with other bytes, as the manifest says now: {', '.join(found.accepted)}.")
    if not found.objects and not found.accepted:
        return "\n".join([*lines, f"{done.path}: every byte is as it was written."])
    units = ", ".join(f"{counted(len(of), 'unit')} of {phase}" for phase, of in found.units.items())
    again = f" ({units} run again)" if units else ""
    as_written = "" if found.accepted else "; every byte is as it was written"
    return "\n".join(
        [*lines, f"{done.path}: {counted(len(found.objects), 'object')} rebuilt{again}{as_written}."]
    )
