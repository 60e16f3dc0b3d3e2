"""``qloc power``: what a study of some size can show, before it is made."""

from __future__ import annotations

from typing import Annotated

import typer

from qloc.cli.shared import Quiet, conclude, listed, say
from qloc.progress import Progress


def power(
    store: Annotated[
        str, typer.Argument(metavar="[STORE]", help="A store whose size is taken, in place of the numbers.")
    ] = "",
    facts: Annotated[int, typer.Option(metavar="N", help="Facts.")] = 400,
    relations: Annotated[int, typer.Option(metavar="G", help="Relations.")] = 20,
    templates: Annotated[int, typer.Option(metavar="K", help="Templates of each relation.")] = 8,
    hypotheses: Annotated[
        str, typer.Option(metavar="LIST", help="Names, such as H1a,H5a,H7b.")
    ] = "H1a,H1b,H3,H10a",
    tests: Annotated[int, typer.Option(metavar="M", help="Confirmatory tests: each must hold at α/M.")] = 1,
    alpha: Annotated[float, typer.Option(metavar="LEVEL", help="α of all of them together.")] = 0.05,
    fact_strength: Annotated[
        float, typer.Option(metavar="SHARE", help="Planted: probability of each of a fact's own neurons.")
    ] = 0.2,
    effect: Annotated[
        float, typer.Option(min=0, metavar="SIZE", help="Planted: factor on effects on answers (H5 to H8).")
    ] = 1.0,
    simulations: Annotated[int, typer.Option(metavar="N", help="Planted studies.")] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the first planted study.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Tell what a study can show, by simulation: planted studies of its size, and the tests themselves.

    Power is the share of planted studies in which a hypothesis holds at α/M. The least p is what any data of
    this size could give at best: with six relations no p of H5a is below .0156, so that the first of four
    confirmatory tests can never hold. The detectable effect is what 4 of 5 such studies would find, beside
    the smallest effect of interest.

    \b
    Examples:
      qloc power --facts 200 --relations 6 --templates 6 --hypotheses H1a,H5a --tests 4
      qloc power study.zarr --fact-strength 0.1
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.analyze import open_study
    from qloc.workflows.power import power as simulated
    from qloc.workflows.power import power_text

    with Progress(quiet=quiet) as progress:
        found = simulated(
            open_study(store) if store else None,
            facts=facts,
            relations=relations,
            templates=templates,
            hypotheses=listed(hypotheses),
            tests=tests,
            alpha=alpha,
            effect=effect,
            simulations=simulations,
            seed=seed,
            progress=progress,
            fact_strength=fact_strength,
        )
    say(power_text(found))
    conclude("", "qloc docs statistics#power      what each column says")
