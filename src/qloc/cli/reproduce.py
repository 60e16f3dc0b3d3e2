"""``qloc reproduce``: a published study's tables from stores, its values beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from qloc.cli.shared import conclude, quoted, say
from qloc.errors import InputError, message


def reproduce(
    study: Annotated[str, typer.Argument(metavar="chen|dai|niu", help="The published study.")],
    stores: Annotated[
        list[str] | None, typer.Argument(metavar="STORE…", help="Stores, or URLs; models side by side.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="A plan whose `analysis:` says thresholds and k0."),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            "--published", metavar="FILE", help="Published values beside ours, in the form of published.yaml."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RESULTS", help="Folder to save the tables in, for qloc report."),
    ] = None,
    print_plan: Annotated[
        bool, typer.Option("--print-plan", help="Print the plan that extracts as published.")
    ] = False,
) -> None:
    """Make a published study's tables in its layout, from one store or several, published values beside.

    chen: Chen et al. 2025 (Query Localization): ratio of inconsistent facts with Welch's t; modification of
    N_i and N_u; ΔProb of own and neighbor neurons; knowledge synapses; CAS. Needs a store with the phases
    signals, interventions and edits; tables of a phase that it lacks are left out and named. Several stores
    are taken on the facts that all of their models were asked.

    A published value is shown where published.yaml has it with its place; where not, it says "not on file".
    The tables are descriptive, as published; qloc analyze tests what they suggest.

    dai: Dai et al. 2022 (Knowledge Neurons): refined neurons of facts and those that facts share, beside the
    baseline by activation; relation neurons; ΔProb of suppression and amplification; activations by prompt;
    updates and erasures. Baseline and activations need a store of tier dense.

    niu: Niu et al. 2024 (the Knowledge Neuron Thesis): categorical flips under suppression; bijective
    symmetry and synonymous invariance of edits. Needs facts with inverses or synonyms (entailed:DIR).

    What of a study is not made is told in a note each.

    \b
    Examples:
      qloc reproduce chen --print-plan > chen.yaml
      qloc extract --plan chen.yaml --model gpt2 --facts pararel:pararel --out gpt2.zarr
      qloc reproduce chen gpt2.zarr llama.zarr --out chen
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.plan import plan_from
    from qloc.reports.renderers.plain_text import reproduction_text
    from qloc.workflows.reproduce import published_study, reproduce_study

    source = published_study(study, published)
    if print_plan:
        say(yaml.safe_dump(dict(source.plan), sort_keys=False, allow_unicode=True), nl=False)
        return
    if not stores:
        rule, action = "one store at least", "Give one, or --print-plan for the plan that makes it"
        raise InputError(message("stores", [], rule, "qloc reproduce", action))
    result = reproduce_study(study, source, stores, plan_from(plan).analysis, out)
    say(reproduction_text(result))
    if out is None:
        again = quoted("qloc", "reproduce", study, *stores, "--out", study)
        conclude("", f"{again}      to keep them, for a report")
    else:
        conclude(f"\nResults: {out}", quoted("qloc", "report", out))
