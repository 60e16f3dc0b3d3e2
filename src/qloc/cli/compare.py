"""``qloc compare``: several stores on what all of them were asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qloc.cli.shared import conclude, plan_given, quoted, say


def compare(
    stores: Annotated[list[str], typer.Argument(metavar="STORE STORE…", help="Two at least, or URLs.")],
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="A plan whose `analysis:` says threshold, k0 and seed."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RESULTS", help="Folder to save the comparison in, for qloc report."),
    ] = None,
) -> None:
    """Compare models, or checkpoints, on the facts and templates that all of them were asked.

    Paired by fact and template: κ, D, K_I(k₀) at one static threshold, and the share known, with an interval
    and a test of each difference. Never at Otsu's thresholds, which are others in every model. A few models
    support no claim about larger models, or about models in general.

    \b
    Examples:
      qloc compare gpt2.zarr llama.zarr
      qloc compare step1000.zarr step2000.zarr --out comparison
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.reports.renderers.plain_text import comparison_text
    from qloc.workflows.analyze import compare as compared

    found = compared(stores, plan_given(plan)[0], out)
    say(comparison_text(found))
    if out is None:
        again = quoted("qloc", "compare", *stores, "--out", "comparison")
        conclude("", f"{again}      to keep it, for a report")
    else:
        conclude(f"\nResults: {out}", quoted("qloc", "report", out))
