"""An extraction, run or resumed into a store: extract and store joined."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qloc.errors import InputError, MissingDependencyError, message
from qloc.neuron_set_files import read_own_sets
from qloc.plan import Plan, require_plan
from qloc.progress import Progress
from qloc.text.rounding import counted
from qloc.workers.runner import Runner, runner
from qloc.workflows import append_phases
from qloc.workflows.empty_studies import nothing_known, too_few_queries
from qloc.workflows.signal_units import SignalUnits, opened

if TYPE_CHECKING:
    from qloc.block import Shard
    from qloc.extract.signals.extraction import Extraction
    from qloc.store.writing.writer import Writer
    from qloc.workflows.dry_run import Estimate

_EXTRACT_NEEDS: Final = ("torch", "transformers", "tokenizers", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What an extraction did, or in a dry run would do.

    Attributes
    ----------
    path : Path
        The store.
    n_facts, n_queries, n_units : int
        Of the whole store.
    n_done : int
        Units that were in the store already.
    n_bytes, seconds : int or float
        Size on disk, this run's time; in a dry run estimated from a few facts.
    excluded : dict of str to int
        Queries that the model cannot be asked, by reason.
    skipped : dict of str to int
        Facts and queries that reading them left out, or marks, by reason.
    merged : int
        Facts that repeated an earlier one.
    shard : Shard or None
        The part that was run of the units, if not all: ``n_units`` is its number of units then.
    waiting : tuple of str
        Phases that a shard cannot run before the signals of all shards are merged.
    estimate : Estimate or None
        Of a dry run: time by phase, and memory.
    """

    path: Path
    n_facts: int
    n_queries: int
    n_units: int
    n_done: int
    n_bytes: int
    seconds: float
    excluded: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    merged: int = 0
    shard: Shard | None = None
    waiting: tuple[str, ...] = ()
    estimate: Estimate | None = None


def extract_study(
    plan: Plan,
    out: str | Path,
    *,
    progress: Progress | None = None,
    dry_run: bool = False,
    shard: Shard | None = None,
    signals: str | Path | None = None,
) -> Extracted:
    """Run a plan's model over its facts into a store, or go on where an earlier run of the plan was stopped.

    Parameters
    ----------
    plan : Plan
        The study.
    out : str or Path
        The store: nothing yet, or one of the same fingerprint.
    progress : Progress or None, default None
        Told of each step.
    dry_run : bool, default False
        Write nothing; run a few facts through all phases, to tell how much and how long the rest would be.
    shard : Shard or None, default None
        Run this part of the units only, into a store of its own that stays unfinished until all shards are
        merged; None for all units.
    signals : str or Path or None, default None
        Of a shard: the store that was merged from the signals of all shards, which later phases are chosen
        from. None where there is none yet: then these phases wait.

    Returns
    -------
    Extracted
        What was done, or in a dry run would be.

    Raises
    ------
    MissingDependencyError
        Torch or its kin are not installed.
    InputError
        Model, facts or path; every problem.
    FingerprintError
        If the store holds another extraction.
    LockedError
        Another process writes the store.
    ModelError
        The model gave something that is not finite.
    WorkerError
        Worker processes died of a unit, or their scheduler did; what was recorded is kept.
    StorageError
        The disk refused.
    """
    out, progress = _store_path(out), progress or Progress(quiet=True)
    extraction = as_held(
        prepared(require_plan(plan, "qloc.extract_study")), out if signals is None else signals
    )
    if "interventions" in plan.phases:
        refuse_unknown_facts(extraction, plan)
    if dry_run:
        return _estimated(extraction, out, progress, shard)
    if shard is not None or signals is not None:
        return _extracted_shard(extraction, out, progress, shard, signals)
    further = [phase for phase in plan.phases if phase != "signals"]
    signals_held = _finished(out, extraction, progress)
    if signals_held:
        further = [phase for phase in further if not append_phases.is_held(extraction, out, phase)]
        if not further:
            progress.say(f"{out} holds this extraction already.")
            return _of_store(out)
    if told := too_few_queries(extraction):
        progress.say(told)
    progress.say(_loading_words(extraction))
    clock = time.monotonic()
    with _runner(extraction, progress) as run:
        found = _of_store(out) if signals_held else _run(extraction, out, progress, run)
        if told := nothing_known(out):
            progress.say(told)
        for phase in further:
            append_phases.append_phase(extraction, out, phase, progress, run)
    whole = _of_store(out)
    return replace(whole, n_done=found.n_done, seconds=time.monotonic() - clock)


def _extracted_shard(
    extraction: Extraction, out: Path, progress: Progress, shard: Shard | None, signals: str | Path | None
) -> Extracted:
    """Run one shard: its units of signals and, where those of all shards are merged, of later phases."""
    from qloc.store.integrity.check import layout_of

    if shard is None:
        rule, action = "one job's part of it, as --signals is given", "Add --shard, or leave --signals out"
        raise InputError(message("shard", None, rule, "qloc extract", action))
    refuse_more_shards_than_units(extraction, shard)
    further = [str(phase) for phase in extraction.plan.phases if phase != "signals"]
    merged = None if signals is None else _signals_of_all(extraction, Path(signals).expanduser())
    waiting = tuple(further) if merged is None else ()
    if _holds_shard(extraction, out, shard, [] if merged is None else further):
        progress.say(f"{out} holds this shard already.")
        n_units = len(shard.units(layout_of(out).units))
        return replace(_of_store(out), n_units=n_units, n_done=n_units, shard=shard, waiting=waiting)
    progress.say(_loading_words(extraction))
    clock = time.monotonic()
    with _runner(extraction, progress) as run:
        done = _run(extraction, out, progress, run, shard)
        if merged is not None:
            for phase in further:
                append_phases.append_part(extraction, merged, out, phase, shard, progress, run)
    seconds, n_bytes = time.monotonic() - clock, _of_store(out).n_bytes
    return replace(done, n_bytes=n_bytes, seconds=seconds, shard=shard, waiting=waiting)


def _loading_words(extraction: Extraction) -> str:
    told = f"Loading {extraction.plan.model} …"
    if own := extraction.source.own_code:
        kind = extraction.source.config.model_type
        told += f" The checkpoint's own code ({own}) is not run; transformers' code of {kind} is."
    return told


def _holds_shard(extraction: Extraction, out: Path, shard: Shard, further: list[str]) -> bool:
    """Whether a shard's store has its units of all phases; refuses another plan's. Needs no weights."""
    from qloc.store.integrity.check import complete, is_store, layout_of
    from qloc.store.units.shard_record import ShardRecord
    from qloc.store.writing.phase_writer import refuse_other_phase
    from qloc.store.writing.skeleton import refuse_other_parameters

    record = ShardRecord.read(out) if is_store(out) and not complete(out) else None
    if record is None or record.shard != shard:
        return False
    refuse_other_parameters(out, layout_of(out), extraction.fingerprint)
    for phase in further:
        refuse_other_phase(out, phase, append_phases.fingerprint(extraction, phase))
    return {"signals", *further} <= {*record.runs}


def refuse_more_shards_than_units(extraction: Extraction, shard: Shard) -> None:
    """Refuse a division that leaves shards without any unit, before the weights are read.

    Parameters
    ----------
    extraction : Extraction
        Its facts and queries.
    shard : Shard
        The part that is asked for.

    Raises
    ------
    InputError
        There are more shards than units.
    """
    n_units = math.ceil(len(extraction.facts) / extraction.plan.unit_facts)
    if shard.of > n_units:
        rule = f"at most {n_units} shards: {len(extraction.facts)} facts are {counted(n_units, 'unit')}"
        raise InputError(message("shard", str(shard), rule, "--shard", "Take fewer shards or --unit-facts"))


def _signals_of_all(extraction: Extraction, path: Path) -> Path:
    """Refuse what is not the complete store of this plan's signals."""
    from qloc.store.integrity.check import complete, layout_of
    from qloc.store.integrity.verify import require_present
    from qloc.store.writing.skeleton import refuse_other_parameters

    layout = layout_of(path)
    if not complete(path):
        rule, action = "complete, merged from all shards", "Run qloc store merge on all shards"
        raise InputError(message("store", "unfinished", rule, f"--signals {path}", action))
    refuse_other_parameters(path, layout, extraction.fingerprint)
    require_present(path)
    return path


def _store_path(out: str | Path) -> Path:
    """Where a link leads to: a store is made beside its place and renamed, and would replace the link."""
    path = Path(out).expanduser()
    return path.resolve() if path.is_symlink() else path


def refuse_unknown_facts(extraction: Extraction, plan: Plan) -> None:
    """Refuse users' own sets of facts that the study has not, before the model has run for hours.

    Parameters
    ----------
    extraction : Extraction
        The study's facts.
    plan : Plan
        Names the file of the sets, if there is one.

    Raises
    ------
    InputError
        The file is none of that form, or names ids of no fact; each.
    """
    ids = {"", *(fact.id for fact in extraction.facts.facts)}
    rule = "the id of a fact of the study, or empty for all"
    problems = [
        message("fact", fact, rule, str(plan.sets), f"Mend set {name!r}")
        for name, facts in read_own_sets(plan.sets).items()
        for fact in facts
        if fact not in ids
    ]
    if problems:
        raise InputError(problems)


def prepared(plan: Plan) -> Extraction:
    """Prepare an extraction whose weights are not read yet.

    Parameters
    ----------
    plan : Plan
        The study.

    Returns
    -------
    Extraction
        Facts, tokenizer and configuration are read.

    Raises
    ------
    MissingDependencyError
        Torch or its kin are not installed.
    InputError
        Model or facts cannot be read.
    """
    try:
        from qloc.extract.signals.extraction import prepare

        return prepare(plan)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _EXTRACT_NEEDS:
            raise
        what, action = f"package {name}", "In the clone, run: pip install -c constraints.txt '.[extract]'"
        rule = "installed; qloc[extract] brings it"
        raise MissingDependencyError(message(what, "missing", rule, "qloc extract", action)) from None


def as_held(extraction: Extraction, store: str | Path) -> Extraction:
    """Give an extraction the form of fingerprint that a store has, so that older stores are gone on with.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    store : str or Path
        Any path.

    Returns
    -------
    Extraction
        The same, where there is no store yet or one of the present form.
    """
    from qloc.store.writing.skeleton import made_from

    return extraction.as_in(made_from(Path(store).expanduser()))


def _finished(out: Path, extraction: Extraction, progress: Progress) -> bool:
    """Whether this extraction is in ``out`` already, and nothing is left to tidy; refuses another's store.

    Asked before the weights are read, so that neither answer has to wait for them.
    """
    from qloc.store.integrity.check import complete, is_store, layout_of
    from qloc.store.names import LEDGER
    from qloc.store.schema import manifest
    from qloc.store.writing import append
    from qloc.store.writing.skeleton import mend_root, refuse_other, refuse_other_parameters

    if mend_root(out):
        progress.say(_restored_words(["zarr.json"]))
    refuse_other(out)
    if not is_store(out):
        return False
    refuse_other_parameters(out, layout_of(out), extraction.fingerprint)
    if not complete(out) or (out / LEDGER).exists():
        return False
    manifest.read(out)
    append.tidy(out)
    return True


def _run(
    extraction: Extraction, out: Path, progress: Progress, run: Runner, shard: Shard | None = None
) -> Extracted:
    started, clock = datetime.now(UTC), time.monotonic()
    outline = run.call(partial(getattr, extraction, "outline"))
    with opened(extraction, outline, out, shard) as writer:
        n_told = _tell_restored(writer, progress)
        units, missing = writer.units, writer.missing()
        n_done = len(units) - len(missing)
        if n_done:
            progress.say(f"{n_done:,} of {len(units):,} units are in {out} already.")
        total, left = sum(unit.n_queries for unit in units), sum(unit.n_queries for unit in missing)
        with progress.stage("extract", total, done=total - left) as advance:
            for unit, record in run.each(SignalUnits(extraction, out.absolute()), missing):
                writer.record(record)
                advance(unit.n_queries)
        if shard is None:
            progress.say(f"Assembling {out} …")
        environment = run.call(partial(getattr, extraction, "environment"))
        writer.finalize(append_phases.described(extraction, environment, started))
        _tell_restored(writer, progress, n_told)
    found = _of_store(out)
    return replace(found, n_done=n_done, n_units=len(units), seconds=time.monotonic() - clock)


def _tell_restored(writer: Writer, progress: Progress, n_told: int = 0) -> int:
    """Say what was damaged and written again; return how many objects have been told."""
    if names := writer.restored[n_told:]:
        progress.say(_restored_words(names))
    return len(writer.restored)


def _restored_words(names: list[str]) -> str:
    return f"Damaged since they were written, and now written again: {', '.join(names)}."


def _runner(extraction: Extraction, progress: Progress) -> AbstractContextManager[Runner]:
    """What runs the units: this process, or workers, which then alone load the weights."""
    from qloc.extract.models.loading import visible_gpus

    plan = extraction.plan
    gpus = visible_gpus(plan.device) if plan.workers else ()
    return runner(plan.workers, plan.cluster, gpus=gpus, say=progress.say)


def _of_store(path: Path) -> Extracted:
    from qloc.store.integrity.check import layout_of, root_attributes

    layout = layout_of(path)
    return Extracted(
        path=path,
        n_facts=layout.sizes["fact"],
        n_queries=layout.sizes["query"],
        n_units=len(layout.units),
        n_done=len(layout.units),
        n_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        seconds=0.0,
        **_left_out(root_attributes(path)),
    )


def _left_out(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attrs[name] for name in ("excluded", "skipped", "merged") if name in attrs}


def _estimated(extraction: Extraction, out: Path, progress: Progress, shard: Shard | None) -> Extracted:
    """What the whole, or a shard, would still take."""
    from qloc.workflows.dry_run import estimate

    if shard is not None:
        refuse_more_shards_than_units(extraction, shard)
    progress.say(f"Loading {extraction.plan.model}, and trying a few facts …")
    told = estimate(extraction, out, shard)
    if told.nothing_left:
        return replace(_of_store(out), n_units=told.n_done["signals"], shard=shard, estimate=told)
    outline = extraction.outline
    units = outline.units if shard is None else shard.units(outline.units)
    return Extracted(
        path=out,
        n_facts=sum(unit.n_facts for unit in units),
        n_queries=sum(unit.n_queries for unit in units),
        n_units=len(units),
        n_done=told.n_done["signals"],
        n_bytes=told.n_bytes,
        seconds=sum(told.seconds.values()),
        shard=shard,
        estimate=told,
        **_left_out(outline.attrs),
    )
