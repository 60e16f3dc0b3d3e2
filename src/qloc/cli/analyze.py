"""``qloc analyze``: what a store says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qloc.cli.shared import Log, Quiet, conclude, quoted
from qloc.errors import InputError
from qloc.progress import Progress

if TYPE_CHECKING:
    from qloc.analysis.results import StudyResult


def analyze(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE…", help="Stores, complete or unfinished, or URLs.")
    ],
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="A plan whose `analysis:` says what is asked, and how."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="RESULTS",
            help="Folder for the results; of several stores, a folder in it for each, and `comparison`. "
            "[default: STORE's name with -results]",
        ),
    ] = None,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Analyze stores: consistency of neuron sets, and every test of the plan.

    Needs neither the model nor torch. What was fixed before looking (thresholds, tests, seeds) belongs in a
    plan; without one, the defaults are used. The same store and plan give the same results.

    Several stores are analyzed each by itself, and compared, as by `qloc compare`, on the facts and templates
    that all of their models were asked and know.

    \b
    Examples:
      qloc analyze gpt2.zarr
      qloc analyze gpt2.zarr --plan plan.yaml --out results
      qloc analyze gpt2.zarr llama.zarr --out results

    \b
    A plan:
      analysis:
        threshold: 0.2
        n_permutations: 999
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.plan import plan_from
    from qloc.workflows.analyze import COMPARISON, compare, forget
    from qloc.workflows.analyze import analyze as analyzed

    asked = plan_from(plan).analysis
    folders = folders_of(stores, out)
    with Progress(quiet=quiet, log=log) as progress:
        for store, folder in zip(stores, folders, strict=True):
            progress.say(f"Analyzing {store} …")
            found = analyzed(store, asked, folder, progress=progress)
            if not quiet:
                _answers(found)
        if len(stores) > 1:
            progress.say("Comparing them on what all were asked …")
            folder = out / COMPARISON if out else Path(f"{COMPARISON}-results")
            forget(folder)  # of what was there before: it may not be replaced
            try:
                found = compare(stores, asked, folder)
            except InputError as error:  # each has its results; nothing in common is no failure
                progress.say(f"Not compared: {error}")
            else:
                folders.append(folder)
                if not quiet:
                    _answers(found)
    results = [out] if out else folders
    shown = ", ".join(map(str, results))
    conclude(f"Results: {shown}", quoted("qloc", "report", *results), quiet=quiet)


def folders_of(stores: Sequence[str | Path], out: Path | None) -> list[Path]:
    """Where the results of each store go.

    Examples
    --------
    >>> [str(folder) for folder in folders_of([Path("a/gpt2.zarr"), Path("b/gpt2.zarr")], Path("results"))]
    ['results/gpt2', 'results/gpt2-2']
    >>> [str(folder) for folder in folders_of(["s3://bucket/gpt2.zarr"], None)]
    ['gpt2-results']
    """
    from qloc.workflows.analyze import COMPARISON

    if out and len(stores) == 1:
        return [out]
    names = [COMPARISON] if len(stores) > 1 else []
    for store in stores:
        place = str(store) if "://" in str(store) else str(Path(store).resolve())
        stem = place.rstrip("/").rpartition("/")[2].removesuffix(".zip").removesuffix(".zarr")
        again = sum(name == stem or name.startswith(f"{stem}-") for name in names)
        names.append(f"{stem}-{again + 1}" if stem in names else stem)
    return [out / name if out else Path(f"{name}-results") for name in names[-len(stores) :]]


def _answers(found: StudyResult) -> None:
    typer.echo(found.title)
    for question in found.questions:
        if question.answer:
            typer.echo(f"  {question.title}\n    {question.answer}")
