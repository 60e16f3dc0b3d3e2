"""``qloc store`` for other programs: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qloc.cli.shared import conclude, quoted
from qloc.errors import InputError, message
from qloc.progress import size
from qloc.text.rounding import counted, index, share
from qloc.vocabulary import DEFAULT_THRESHOLD

_SETS = "Neuron sets"

Method = Annotated[
    str, typer.Option("--method", metavar="NAME", help="Attribution method.", rich_help_panel=_SETS)
]
Threshold = Annotated[
    float,
    typer.Option("--threshold", metavar="T", help="Attribution > T · maximum.", rich_help_panel=_SETS),
]
Share = Annotated[
    float,
    typer.Option(
        "--share", metavar="P", help="In more than this share of a fact's queries.", rich_help_panel=_SETS
    ),
]


def export(
    path: Annotated[str, typer.Argument(metavar="STORE", help="A store, packed or not, or the URL of one.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    format: Annotated[str, typer.Option("--format", metavar="hdf5|neurons", help="What to write.")] = "hdf5",
    method: Method = "ig",
    threshold: Threshold = DEFAULT_THRESHOLD,
    share: Share = 0.5,
) -> None:
    """Write a store for other programs: all of it as HDF5, or its neurons as JSON.

    \b
    hdf5      one file that h5py opens, and xarray with h5netcdf; every array with its sha256
    neurons   {fact id: [[layer, index], …]}, as EleutherAI/knowledge-neurons writes and reads it

    \b
    Examples:
      qloc store export gpt2.zarr gpt2.h5
      qloc store export gpt2.zarr gpt2.json --format neurons --threshold 0.3
    """  # noqa: D301  (typer keeps what follows \b as it is)
    if format == "hdf5":
        from qloc.store.exchange.hdf5 import export as exported

        made = exported(path, out)
        following = quoted("qloc", "store", "import", made, "COPY.zarr")
    elif format == "neurons":
        from qloc.workflows.exchange import export_neurons

        made = export_neurons(path, out, method=method, threshold=threshold, share=share)
        following = quoted("qloc", "store", "import", made, "--store", path)
    else:
        raise InputError(message("format", format, "hdf5 or neurons", "--format", "Correct it"))
    conclude(f"File: {made} ({size(made.stat().st_size)})", following)


def import_(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="What qloc store export wrote, or neurons as JSON.")
    ],
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="Of HDF5: the store to write.")] = None,
    store: Annotated[
        str | None, typer.Option("--store", metavar="STORE", help="Of JSON: the store to compare with.")
    ] = None,
    method: Method = "ig",
    threshold: Threshold = DEFAULT_THRESHOLD,
    share: Share = 0.5,
) -> None:
    """Make a store of an HDF5 file again, or compare somebody's neurons with those of a store.

    HDF5: every array is compared with its sha256, and the store verified. JSON of the form
    {fact id: [[layer, index], …]}, as EleutherAI/knowledge-neurons writes it: facts are matched by their id,
    and the neurons compared with those that STORE leads to.

    \b
    Examples:
      qloc store import gpt2.h5 gpt2.zarr
      qloc store import bert_pararel_neurons_0.json --store bert.zarr --threshold 0.3
    """  # noqa: D301  (typer keeps what follows \b as it is)
    if (out is None) == (store is None):
        got = "neither" if out is None else "both"
        rule = "OUT, of an HDF5 file, or --store, of neurons as JSON"
        raise InputError(message("target", got, rule, "qloc store import", "Give one"))
    if out is not None:
        from qloc.store.exchange.hdf5 import import_hdf5

        made = import_hdf5(path, out)
        conclude(f"Store: {made}, every array as it was exported.", quoted("qloc", "analyze", made))
        return
    from qloc.workflows.exchange import import_neurons

    found = import_neurons(path, store or "", method=method, threshold=threshold, share=share)
    conclude(_compared(path, store, found), quoted("qloc", "analyze", store))


def _compared(path: Path, store: str | None, found: dict[str, Any]) -> str:
    lines = [
        f"{path}: {counted(found['facts'], 'fact')} of {store}; "
        f"{found['only_there']:,} in the file only, {found['only_here']:,} in the store only"
    ]
    if found["facts"]:
        lines.append(
            f"  refined neurons of a fact, Jaccard: mean {index(found['mean'])}, "
            f"smallest {index(found['min'])}, {share(found['exact'])} of the facts have equal ones"
        )
    return "\n".join(lines)
