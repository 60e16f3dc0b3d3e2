"""``qloc analyze``: what a store says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from qloc.cli.shared import Log, Quiet, conclude, plan_given, quoted, say
from qloc.progress import Progress
from qloc.text.tables import paragraph

if TYPE_CHECKING:
    from qloc.analysis.results import StudyResult
    from qloc.plan import AnalysisPlan
    from qloc.registration import Registration


def analyze(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE…", help="Stores, complete or unfinished, or URLs.")
    ],
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="A plan whose `analysis:` says what is asked, and how; or its registration.",
        ),
    ] = None,
    registration: Annotated[
        Path | None,
        typer.Option(
            "--registration",
            metavar="FILE",
            help="What `qloc plan lock` wrote, where --plan is another plan: reports list what deviates.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="NAME", help="Attribution method, in place of the plan's."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="T", help="Attribution threshold, in place of the plan's."),
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
    explore: Annotated[
        int | None,
        typer.Option(
            "--explore",
            metavar="N",
            min=0,
            help="Facts that the report's explorer can show; 0: no explorer. [default: 1000]",
        ),
    ] = None,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Analyze stores: consistency of neuron sets, and every test of the plan.

    Needs neither the model nor torch. What was fixed before looking (thresholds, tests, seeds) belongs in a
    plan; without one, the defaults are used, and everything is exploratory. `qloc plan lock` registers a
    plan: reports then list what deviates from it. The same store and plan give the same results.

    Several stores are analyzed each by itself, and compared, as by `qloc compare`, on the facts and templates
    that all of their models were asked and know.

    \b
    Examples:
      qloc analyze gpt2.zarr
      qloc analyze gpt2.zarr --plan plan.yaml --out results
      qloc analyze gpt2.zarr --method ig --threshold 0.3 --out at-0.3
      qloc analyze gpt2.zarr llama.zarr --out results

    \b
    A plan:
      analysis:
        threshold: 0.2
        n_permutations: 999
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.analyze import analyze_stores

    with Progress(quiet=quiet, log=log) as progress:
        asked, locked = plan_given(plan, registration)
        asked = _asked(asked, locked, {"method": method, "threshold": threshold})
        analyzed = analyze_stores(
            stores,
            asked,
            out,
            registration=locked,
            progress=progress,
            done=None if quiet else _answers,
            explored=explore,
        )
        if analyzed.not_compared:  # each has its results; nothing in common is no failure
            progress.say(f"Not compared: {analyzed.not_compared}")
    results = [out] if out else [*analyzed.results]
    shown = ", ".join(map(str, results))
    conclude(f"Results: {shown}", quoted("qloc", "report", *results), quiet=quiet)


_COLOURS: Final = {"holds": "green", "the opposite holds": "red", "no relevant difference": "blue"}
"""Verdict → colour on a terminal; all others are yellow, and what has no verdict is plain."""


def _answers(found: StudyResult) -> None:
    say(found.title)
    for question in found.questions:
        if question.answer:
            say(f"{paragraph(question.title)}\n{paragraph(question.answer, indent=4)}")
        for test in question.tests:
            colour = None if test.verdict == "descriptive" else _COLOURS.get(test.verdict, "yellow")
            say(paragraph(f"{test.name}: {test.outcome()} ({test.role})", indent=4), colour=colour)


def _asked(
    plan: AnalysisPlan | None, locked: Registration | None, flags: dict[str, Any]
) -> AnalysisPlan | None:
    """The analysis plan with what flags say in the place of what it says."""
    given = {name: value for name, value in flags.items() if value is not None}
    if not given:
        return plan
    from qloc.plan import plan_from

    base = plan or (locked.plan.analysis if locked else None)
    written = {} if base is None else base.model_dump()
    return plan_from(None, {"analysis": {**written, **given}}).analysis
