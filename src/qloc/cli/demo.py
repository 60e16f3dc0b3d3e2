"""``qloc demo``: the embedded study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloc.cli.shared import Log, Quiet, conclude, quoted
from qloc.progress import Progress


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where stores, results and the report go.")
    ] = Path("qloc-demo"),
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """See it work: extract from two small trained models, analyze, report.

    The models, a causal and a masked one, and their facts come with qloc: no download, no GPU. They are
    synthetic, made for demonstration; which facts were taught how is known, so the report can be checked.
    Without torch it starts from a small extraction that comes with qloc, and says so.

    DIR gets causal.zarr, masked.zarr, results/ and report.html. Run again, it only does what is missing.

    \b
    Example:
      qloc demo --out qloc-demo
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.demo import demo as demonstrated

    with Progress(quiet=quiet, log=log) as progress:
        path = demonstrated(out, progress=progress)
    conclude(
        f"Report: {path}",
        f"open {path} in a browser",
        quoted("qloc", "store", "info", out / "causal.zarr"),
        "qloc extract --help",
        quiet=quiet,
    )
