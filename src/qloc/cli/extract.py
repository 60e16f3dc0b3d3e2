"""``qloc extract``: run a model over facts and keep what its neurons did."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from qloc.cli import extract_options as opt
from qloc.cli.shared import Log, Quiet, conclude, quoted, say
from qloc.errors import InputError, message
from qloc.progress import Progress, duration, size
from qloc.text.rounding import counted

_NEEDED: Final = {"model": "embedded:causal", "facts": "embedded", "out": "study.zarr"}
_SCHEME: Final = re.compile("[a-z][a-z0-9+.-]+:/")
"""How a URL begins, as a path has it."""

if TYPE_CHECKING:
    from qloc.plan import Plan
    from qloc.workflows.dry_run import Estimate
    from qloc.workflows.extract import Extracted


def extract(
    ctx: typer.Context,
    out: opt.Out = None,
    model: opt.Model = None,
    facts: opt.Facts = None,
    plan: opt.PlanFile = None,
    revision: opt.Revision = None,
    blocks: opt.Blocks = None,
    down: opt.Down = None,
    relations: opt.Relations = None,
    max_facts: opt.MaxFacts = None,
    pairs: opt.Pairs = None,
    pair_queries: opt.PairQueries = None,
    seed: opt.Seed = None,
    methods: opt.Methods = None,
    steps: opt.Steps = None,
    quadrature: opt.QuadratureRule = None,
    quadrature_error: opt.QuadratureError = None,
    quadrature_thresholds: opt.QuadratureThresholds = None,
    gap_tolerance: opt.GapTolerance = None,
    site: opt.SiteName = None,
    target: opt.PairTargetName = None,
    answer_tokens: opt.AnswerTokens = None,
    phases: opt.Phases = None,
    sets: opt.Sets = None,
    probes: opt.Probes = None,
    tier: opt.TierName = None,
    floor: opt.Floor = None,
    capacity: opt.Capacity = None,
    store_dtype: opt.StoreDtype = None,
    device: opt.Device = None,
    dtype: opt.DtypeName = None,
    memory: opt.Memory = None,
    threads: opt.Threads = None,
    workers: opt.Workers = None,
    cluster: opt.Cluster = None,
    unit_facts: opt.UnitFacts = None,
    shard: opt.ShardText = None,
    signals: opt.Signals = None,
    dry_run: opt.DryRun = False,
    print_plan: opt.PrintPlan = False,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Run a model over facts, and keep what its neurons did in a store.

    For every query of every fact: how much each neuron of the model's MLPs contributes to the answer's
    probability, its activation, what the model answers, and where it attends. The store can then be analyzed
    as often as you like, without the model.

    Interrupted or killed at any moment, it goes on where it was when the same command is run again; the store
    is then that of an uninterrupted run, bit for bit.

    \b
    Examples:
      qloc extract --model embedded:causal --facts embedded --out causal.zarr
      qloc extract --model gpt2 --facts facts.jsonl --out gpt2.zarr --dry-run
      qloc extract --model gpt2 --facts facts.jsonl --print-plan > plan.yaml
      qloc extract --model ./llama --facts pararel:pararel --relations P36,P39 --out llama.zarr

    \b
    A line of facts.jsonl, [X] being the subject and [Y] the answer:
      {"id": "1", "relation": "capital", "subject": "France", "object": "Paris",
       "queries": ["The capital of [X] is [Y].", "[X]'s capital, [Y]"]}
    """  # noqa: D301  (typer keeps what follows \b as it is)
    given = {**ctx.params, "revision": revision or None}
    if print_plan:
        from qloc.plan import Plan, plan_from

        say(
            plan_from(plan, {name: given[name] for name in given if name in Plan.model_fields}).yaml(),
            nl=False,
        )
        return
    study, path = planned(plan, given)
    from qloc.block import Shard
    from qloc.plan import each_revision
    from qloc.workflows.extract import extract_study

    part = None if shard is None else Shard.read(shard)
    with Progress(quiet=quiet, log=log) as progress:
        for one, store in each_revision(study, path):
            merged = signals / store.name if signals and store != path else signals
            found = extract_study(one, store, progress=progress, dry_run=dry_run, shard=part, signals=merged)
            if not quiet:
                _conclude(found)


def planned(path: Path | None, given: Mapping[str, Any]) -> tuple[Plan, Path]:
    """The plan of a command and its store; model and facts must be named, by flags or in the file.

    Parameters
    ----------
    path : Path or None
        The plan's file, if there is one.
    given : dict of str to Any
        The command's parameters; those that are fields of a plan are its flags.

    Raises
    ------
    InputError
        Everything that is wrong or missing.
    """
    from qloc.plan import Plan, plan_from

    problems: list[str] = []
    plan = None
    try:
        plan = plan_from(path, {name: value for name, value in given.items() if name in Plan.model_fields})
    except InputError as error:
        problems += error.problems
    for name, example in _NEEDED.items():
        in_file = path and name != "out" and (plan is None or name in plan.model_fields_set)
        if given[name] is None and not in_file:
            rule = f"a value of --{name}" if name == "out" else f"a value of --{name} or in the plan"
            problems.append(message(name, None, rule, "qloc extract", f"Add one, such as --{name} {example}"))
    if given["out"] is not None and _SCHEME.match(str(given["out"])):
        action = "Extract to a folder, then qloc store push it"
        problems.append(message("out", str(given["out"]), "a folder of this machine", "qloc extract", action))
    if plan is None or problems:
        raise InputError(problems)
    return plan, Path(given["out"])


def _conclude(found: Extracted) -> None:
    if found.merged:
        say(f"Merged: {counted(found.merged, 'fact')} with an earlier one.")
    for reason, count in found.skipped.items():
        say(f"Counted while reading facts: {count:,} × {reason}.")
    for reason, count in found.excluded.items():
        say(f"Left out: {counted(count, 'query')}, {reason}.")
    work = ", ".join(
        [counted(found.n_facts, "fact"), counted(found.n_queries, "query"), counted(found.n_units, "unit")]
    )
    if found.estimate is not None:
        conclude("\n".join(_estimated(found, found.estimate, work)), "the same command without --dry-run")
    elif found.shard is not None:
        _conclude_shard(found)
    else:
        told = f"Store: {found.path} ({work}, {size(found.n_bytes)})"
        conclude(told, quoted("qloc", "analyze", found.path), quoted("qloc", "store", "info", found.path))


def _estimated(found: Extracted, told: Estimate, work: str) -> Iterator[str]:
    """What a dry run tells: what is there, and what the rest takes, phase by phase."""
    part = "" if found.shard is None else f", shard {found.shard}"
    for phase, n_done in told.n_done.items():
        if n_done:
            yield f"{found.path} has {n_done:,} of {counted(found.n_units, 'unit')} of {phase} already."
    if told.nothing_left:
        yield f"{found.path} holds this extraction already{part}: nothing is left to do."
        return
    times = ", ".join(f"{phase} {duration(spent)}" for phase, spent in told.seconds.items() if spent)
    yield (
        f"{found.path} would hold {work}{part}: about {size(found.n_bytes)}, in about "
        f"{duration(found.seconds)} of one process ({times})."
    )
    yield from told.asked_besides
    memory = [f"about {size(told.n_memory)} of memory"] if told.n_memory else []
    memory += [f"{size(told.n_gpu)} on GPUs"] if told.n_gpu else []
    if memory:
        yield f"A process takes {' and '.join(memory)}, more where prompts are longer than those tried."


def _conclude_shard(found: Extracted) -> None:
    told = (
        f"Store: {found.path} (shard {found.shard}, {counted(found.n_units, 'unit')}, {size(found.n_bytes)})"
    )
    if not found.waiting:
        conclude(told, "when all shards are done, qloc store merge on their stores, and the store to write")
        return
    say(f"For the signals of all shards: {', '.join(found.waiting)}.")
    merged = (
        "when all shards are done, qloc store merge on their stores, and the store of all signals to write"
    )
    conclude(told, merged, "then this command with --signals and that store")
