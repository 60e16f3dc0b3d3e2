"""``qloc simulate``: a store whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qloc.cli.shared import Log, Quiet, conclude, quoted
from qloc.progress import Progress, size
from qloc.text.rounding import counted


def _number(text: str) -> Any:
    return typer.Option(metavar="N", help=text)


def _share(text: str) -> Any:
    return typer.Option(metavar="SHARE", help=text)


def simulate(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="The store to write.")],
    facts: Annotated[int, _number("Facts.")] = 400,
    relations: Annotated[int, _number("Relations, between which the facts are dealt.")] = 20,
    templates: Annotated[int, _number("Templates of each relation.")] = 8,
    answers_per_relation: Annotated[int, _number("Answers that the facts of a relation share.")] = 5,
    template_strength: Annotated[float, _share("Probability of each of a template's neurons.")] = 0.5,
    answer_strength: Annotated[float, _share("Probability of each of an answer's neurons.")] = 0.4,
    fact_strength: Annotated[float, _share("Probability of each of a fact's own neurons.")] = 0.2,
    noise: Annotated[float, _number("Mean number of other neurons in a set.")] = 4.0,
    pairs: Annotated[int, _number("Minimal pairs.")] = 0,
    seed: Annotated[int, _number("Of all that is drawn.")] = 0,
    network: Annotated[
        int, _number("Another number: other neurons, the same facts and queries; for qloc compare.")
    ] = 0,
    methods: Annotated[
        str, typer.Option(metavar="LIST", help="Names of the attribution methods: ig,sig,amig")
    ] = "ig",
    phases: Annotated[
        str, typer.Option(metavar="LIST", help="What to simulate: signals,interventions,edits")
    ] = "signals",
    effect: Annotated[
        float, typer.Option(min=0, metavar="SIZE", help="Factor on planted effects on answers; 0: no effect.")
    ] = 1.0,
    tier: Annotated[str, typer.Option(metavar="panel|dense", help="As of qloc extract.")] = "panel",
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Make a store with planted template, answer and fact neurons.

    What an analysis should find in it is known: for learning to read a report, for planning how many facts a
    study needs, and for checking a method. With --fact-strength 0 there are no fact neurons to be found.

    \b
    Examples:
      qloc simulate --out planted.zarr
      qloc simulate --facts 200 --relations 10 --fact-strength 0 --seed 1 --out null.zarr
      qloc simulate --phases signals,interventions,edits --effect 0 --out no-effects.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.errors import InputError, message

    if tier not in ("panel", "dense"):
        raise InputError(message("tier", tier, "panel or dense", "--tier", "Correct it"))
    from qloc.simulation.interventions import Effects
    from qloc.simulation.simulate import simulate as simulated

    given = {**ctx.params, "methods": _listed(methods), "phases": _listed(phases)}
    for name in ("effect", "quiet", "log"):
        del given[name]
    with Progress(quiet=quiet, log=log) as progress:
        found = simulated(**given, effects=Effects(size=effect, seed=seed), progress=progress)
    n_bytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    n_facts = counted(found.facts.sizes["fact"], "fact")
    n_queries = counted(found.queries.sizes["query"], "query")
    conclude(
        f"Store: {out} ({n_facts}, {n_queries}, {size(n_bytes)})", quoted("qloc", "analyze", out), quiet=quiet
    )


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))
