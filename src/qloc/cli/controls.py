"""``qloc controls``: a study beside its negative controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloc.cli.shared import Device, FactsNow, Log, ModelNow, Quiet, conclude, plan_given, say
from qloc.progress import Progress


def controls(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The study, extracted.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where stores, results and the report go.")
    ] = Path("controls"),
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="A plan whose `analysis:` says what is asked, and how."),
    ] = None,
    model: ModelNow = None,
    facts: FactsNow = None,
    device: Device = None,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Repeat a study where there is no knowledge: what holds there too is no evidence for it.

    Two negative controls are extracted as the store's signals were: the same facts from the model with its
    weights permuted, and from the model itself facts whose objects are permuted within their relation. All
    are analyzed over every query, known or not, since a control knows nothing.

    DIR gets permuted-weights.zarr, permuted-facts.zarr, results/ and report.html. Run again, it only does
    what is missing. Each control takes as long as the study's signals did.

    \b
    Examples:
      qloc controls gpt2.zarr
      qloc controls gpt2.zarr --plan plan.yaml --out gpt2-controls
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.controls import controls as controlled
    from qloc.workflows.controls import controls_text

    with Progress(quiet=quiet, log=log) as progress:
        asked = plan_given(plan)[0]
        found = controlled(store, out, model=model, facts=facts, device=device, plan=asked, progress=progress)
    say(controls_text(found))
    conclude(f"\nReport: {found.report}", f"open {found.report} in a browser", quiet=quiet)
