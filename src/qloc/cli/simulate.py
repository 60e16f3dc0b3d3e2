"""``qloc simulate``: a store whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qloc.cli.shared import Log, Quiet, conclude, listed, quoted
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
    facts_by_relation: Annotated[
        str, typer.Option(metavar="LIST", help="Facts of each relation, in place of --facts and --relations.")
    ] = "",
    size_spread: Annotated[float, _number("Standard deviation of facts' log set sizes.")] = 0.0,
    hubs: Annotated[float, _number("Mean number of generic neurons in a set, used unequally.")] = 0.0,
    shared_templates: Annotated[
        bool, typer.Option("--shared-templates", help="All relations have the same templates.")
    ] = False,
    few_templates: Annotated[float, _share("Facts that only half of the templates can ask.")] = 0.0,
    pairs: Annotated[int, _number("Minimal pairs.")] = 0,
    seed: Annotated[int, _number("Of all that is drawn.")] = 0,
    network: Annotated[
        int, _number("Another number: other neurons, the same facts and queries; for qloc compare.")
    ] = 0,
    methods: Annotated[
        str, typer.Option(metavar="LIST", help="Names of the attribution methods: ig,sig,amig")
    ] = "ig",
    phases: Annotated[
        str, typer.Option(metavar="LIST", help="What to simulate: signals,interventions,edits,tracing")
    ] = "signals",
    effect: Annotated[
        float, typer.Option(min=0, metavar="SIZE", help="Factor on planted effects on answers; 0: no effect.")
    ] = 1.0,
    skewed_relations: Annotated[
        bool, typer.Option("--skewed-relations", help="Relations' effects are skewed, not normal.")
    ] = False,
    damage_error: Annotated[float, _number("Error with which damage is measured, nats a token.")] = 0.0,
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
      qloc simulate --facts-by-relation 72,40,22,12,7,4,2,2 --size-spread 0.34 --out unequal.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.errors import InputError, message

    if tier not in ("panel", "dense"):
        raise InputError(message("tier", tier, "panel or dense", "--tier", "Correct it"))
    from qloc.simulation.interventions import Effects
    from qloc.simulation.simulate import simulate as simulated

    given = {**ctx.params, "methods": listed(methods), "phases": listed(phases)}
    sizes = _sizes(facts_by_relation)
    of_effects = ("effect", "skewed_relations", "damage_error")
    for name in (*of_effects, "quiet", "log", *(("facts", "relations") if sizes else ())):
        del given[name]
    effects = Effects(size=effect, skewed_relations=skewed_relations, damage_error=damage_error, seed=seed)
    with Progress(quiet=quiet, log=log) as progress:
        found = simulated(**{**given, "facts_by_relation": sizes}, effects=effects, progress=progress)
    n_bytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    n_facts = counted(found.facts.sizes["fact"], "fact")
    n_queries = counted(found.queries.sizes["query"], "query")
    conclude(
        f"Store: {out} ({n_facts}, {n_queries}, {size(n_bytes)})", quoted("qloc", "analyze", out), quiet=quiet
    )


def _sizes(text: str) -> tuple[int, ...]:
    from qloc.errors import InputError, message

    try:
        return tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        rule = "whole numbers parted by commas"
        where = "--facts-by-relation"
        raise InputError(message("facts by relation", text, rule, where, "Correct it")) from None
