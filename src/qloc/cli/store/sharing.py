"""``qloc store`` for sharing: pack, unpack, push, pull, merge and diff."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from qloc.cli.shared import Log, Quiet, conclude, quoted, say
from qloc.progress import Progress, size
from qloc.vocabulary import DEFAULT_THRESHOLD

Store = Annotated[str, typer.Argument(metavar="STORE", help="A complete store.")]


def pack(
    path: Store,
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT.zarr.zip", help="The file to write. [default: STORE.zip]"),
    ] = None,
) -> None:
    """Pack a complete store into one file, which is read in place.

    The store is verified first. Equal stores give equal bytes. What is packed opens as it is: with qloc.open,
    every qloc command that reads stores, and xarray.open_zarr(zarr.storage.ZipStore(…)).

    \b
    Example:
      qloc store pack gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.exchange.pack import pack as packed

    made = packed(path, out)
    following = [quoted("qloc", "store", command, made) for command in ("info", "unpack")]
    conclude(f"Archive: {made} ({size(made.stat().st_size)})", *following)


def unpack(
    path: Annotated[str, typer.Argument(metavar="STORE.zarr.zip", help="What qloc store pack wrote.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="The folder to write. [default: without .zip]")
    ] = None,
) -> None:
    """Unpack a store into a folder, once every byte has been compared with its manifest.

    Nothing in an archive is trusted or executed: what has other paths, sizes or contents than a store's is
    refused with every problem, before anything is written.

    \b
    Example:
      qloc store unpack gpt2.zarr.zip
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.exchange.pack import unpack as unpacked

    made = unpacked(path, out)
    following = [quoted("qloc", "analyze", made), quoted("qloc", "store", "info", made)]
    conclude(f"Store: {made}, every byte as it was packed.", *following)


def push(
    path: Store,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="s3://…, gs://…, az://…, file://…, hf://datasets/USER/NAME/…")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove another store that is there. [default: refuse]")
    ] = False,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Put a complete store at a URL, where others read it in place or pull it.

    Interrupted, the same command goes on. Every object is seen to have arrived, by the service's hash of it
    or by reading it back; the manifest is put last. Credentials are those of the environment:
    AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN … Needs qloc[remote].

    \b
    Examples:
      qloc store push gpt2.zarr s3://bucket/gpt2.zarr
      qloc store push gpt2.zarr hf://datasets/me/gpt2-facts/gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.exchange.push import push as pushed

    made = pushed(path, url, replace=replace, progress=Progress(quiet=quiet, log=log))
    following = [quoted("qloc", "analyze", made), quoted("qloc", "store", "pull", made, made.name)]
    conclude(f"Store: {made}, every object as it is here.", *following, quiet=quiet)


def pull(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="s3://…, gs://…, https://…, hf://…; of a store or a .zarr.zip"),
    ],
    out: Annotated[Path, typer.Argument(metavar="STORE", help="The folder to write.")],
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Fetch a complete store from a URL, packed or not, and verify it.

    Interrupted, the same command goes on. Nothing in a remote is trusted or executed: what has other names,
    sizes or contents than its manifest says is refused. STORE is there when every byte has been verified.

    \b
    Examples:
      qloc store pull s3://bucket/gpt2.zarr gpt2.zarr
      qloc store pull https://example.org/gpt2.zarr.zip gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.exchange.pull import pull as pulled

    made = pulled(url, out, progress=Progress(quiet=quiet, log=log))
    following = [quoted("qloc", "analyze", made), quoted("qloc", "store", "info", made)]
    conclude(f"Store: {made}, every byte as its manifest says.", *following, quiet=quiet)


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A complete store, or its URL.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another extraction of the same plan.")],
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="T", help="Of the neuron sets.")
    ] = DEFAULT_THRESHOLD,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Compare two extractions of one plan: on another GPU, in another dtype, by another version.

    Tells for every array the share of unequal values and their largest difference, and how well the neuron
    sets agree that the two lead to. Exit code 0, whatever the difference.

    \b
    Example:
      qloc store diff gpt2-cpu.zarr gpt2-gpu.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.exchange.diff import diff_text
    from qloc.workflows.exchange import diff as compared

    found = compared(first, second, threshold=threshold)
    if json:
        say(dumps(found, sort_keys=True, separators=(",", ":"), allow_nan=False))
    else:
        again = quoted("qloc", "store", "diff", first, second, "--json")
        conclude(diff_text(found), f"{again}      for every array")


def merge(
    paths: Annotated[
        list[str], typer.Argument(metavar="A B … OUT", help="Unfinished stores, and the store to write.")
    ],
) -> None:
    """Put the units of unfinished stores of one plan into a new store.

    For the shards of a plan (`qloc extract --shard`), all of which must be given, or for a plan whose units
    were extracted on several machines. The stores must have one fingerprint; a unit may be in several only
    where its bytes are the same. Where no unit is missing, OUT is complete; else go on with
    `qloc extract --out OUT`, or merge again. The stores stay as they are.

    \b
    Examples:
      qloc store merge one.zarr other.zarr gpt2.zarr
      qloc store merge shards/*.zarr gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.store.exchange.merge import merge as merged

    *stores, out = paths
    made = merged(stores, out)
    following = [quoted("qloc", "analyze", made.path), quoted("qloc", "store", "info", made.path)]
    if not made.complete:
        following = [f"the qloc extract command of these stores with --out {quoted(made.path)}", following[1]]
    for name, values in made.mixed.items():
        say(f"The shards differ in {name} ({values}): only alike machines round alike, to the last bit.")
    missing = [f"{n:,} units of {phase} are missing" for phase, n in made.phases.items() if n]
    state = "; ".join(missing) or f"{made.units} of {made.planned} units"
    state = "complete" if made.complete else state
    conclude(f"Store: {made.path} ({state})", *following)
