"""``qloc compare``: several stores on what all of them were asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qloc.cli.shared import conclude, quoted
from qloc.cli.text_tables import paragraph, table

if TYPE_CHECKING:
    from qloc.analysis.results import StudyResult, Table

_SHORT: Final = {
    "kappa": "κ",
    "dice": "D",
    "facts": "facts",
    "neurons": "neurons",
    "set_size": "|N|",
    "p_adjusted": "adjusted p",
    "rank_correlation": "Spearman's ρ",
}
"""Headings that fit a terminal; the report has whole ones."""


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
    from qloc.plan import plan_from
    from qloc.workflows.analyze import compare as compared

    found = compared(stores, plan_from(plan).analysis, out)
    typer.echo(comparison_text(found))
    if out is None:
        again = quoted("qloc", "compare", *stores, "--out", "comparison")
        conclude("", f"{again}      to keep it, for a report")
    else:
        conclude(f"\nResults: {out}", quoted("qloc", "report", out))


def comparison_text(result: StudyResult) -> str:
    """A comparison as a page of text."""
    lines = [result.title, f"  {result.facts}"]
    for question in result.questions:
        shown = [found for name in ("models", "model_differences") if (found := question.table(name))]
        for one in shown:
            lines += ["", one.title, as_text(one)]
        lines += ["", *(paragraph(test.sentence()) for test in question.tests)]
    return "\n".join([*lines, "", *(paragraph(note) for note in result.notes)])


def as_text(shown: Table) -> str:
    """A table with its intervals joined: ``0.31 [0.25, 0.37]``."""
    names = [n for n in shown.columns if not n.endswith(("_low", "_high"))]
    heads = [_short(shown, name) for name in names]
    columns = [
        [_with_interval(shown, name, row) for row in range(len(shown.columns[name]))] for name in names
    ]
    return table(heads, list(zip(*columns, strict=True)))


def _short(shown: Table, name: str) -> str:
    label = shown.labels.get(name) or name.replace("_", " ")
    return _SHORT.get(name) or label.removesuffix(" by CS2")


def _with_interval(shown: Table, name: str, row: int) -> str | float | int | bool | None:
    value = shown.columns[name][row]
    if f"{name}_low" not in shown.columns or value is None:
        return value
    low, high = (shown.columns[f"{name}_{end}"][row] for end in ("low", "high"))
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.2f}, {high:.2f}]"
