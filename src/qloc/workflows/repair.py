"""A store repaired: what the store cannot rebuild alone is extracted again, and no more than that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qloc.errors import InputError, message
from qloc.phase_plan import MATCHED
from qloc.plan import Plan, plan_from
from qloc.progress import Progress
from qloc.workflows import append_phases
from qloc.workflows.extract import as_held, prepared

if TYPE_CHECKING:
    from qloc.block import Block, PhaseBlock, Unit
    from qloc.extract.signals.extraction import Extraction
    from qloc.store.repair.phase import Stage
    from qloc.store.repair.whole_store import Repair, Repaired

_SIGNALS: Final = "signals"


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What repairing a store did.

    Attributes
    ----------
    path : Path
        The store.
    completed : bool
        The store was unfinished with every unit in it, and is complete now.
    repaired : Repaired or None
        What was rebuilt; None where it was completed.
    """

    path: Path
    completed: bool = False
    repaired: Repaired | None = None


def repair_store(
    path: str | Path,
    *,
    model: str | None = None,
    facts: str | None = None,
    sets: str | None = None,
    device: str | None = None,
    accept: bool = False,
    progress: Progress | None = None,
) -> Mended:
    """Make a damaged store again what its manifest says, extracting the units of damaged objects again.

    Parameters
    ----------
    path : str or Path
        The store, a folder of this machine.
    model, facts, sets : str or None
        Where they are now; by default as when the store was made. Needed only where units (for facts,
        columns of /facts; for sets, units of interventions) are damaged; their digests must be those of
        the store.
    device : str or None, default None
        By default as in the plan.
    accept : bool, default False
        Take rebuilt objects that have other bytes than the manifest says, as those of another device
        have, and write a manifest that names them.
    progress : Progress or None, default None
        Told of each step.

    Returns
    -------
    Mended
        What was done.

    Raises
    ------
    SchemaError
        The path is no store, or has neither manifest nor ledger.
    InputError
        It is packed or at a URL, units are missing, or model, facts or sets cannot be read.
    FingerprintError
        Model, facts, sets or parameters are not those of the store; shows where they differ.
    LockedError
        Another process writes or repairs it.
    VerificationError
        The manifest or metadata are lost, or rebuilt objects have other bytes; each.
    ModelError, MissingDependencyError, StorageError
        As for an extraction.
    """
    from qloc.store.files.url import local
    from qloc.store.integrity.check import complete
    from qloc.store.repair.whole_store import Repair
    from qloc.store.writing.roll_forward import roll_forward

    path, progress = local(path, "qloc store repair"), progress or Progress(quiet=True)
    if not path.is_file() and not complete(path):
        progress.say(f"Assembling {path} …")
        roll_forward(path, _described("completed"))
        return Mended(path=path, completed=True)
    with Repair.open(path) as repair:
        extraction = None
        if repair.facts or any(stage.units for stage in repair.stages):
            flags = {"model": model, "facts": facts, "sets": sets, "device": device}
            extraction = _again(repair, _plan_of(repair, flags))
        for stage in repair.stages:
            environment = _run(stage, extraction, progress) if extraction and stage.units else {}
            told = {**_described("repaired"), "environment": environment}
            repair.settle(stage, told if accept else None)
        return Mended(path=path, repaired=repair.finish())


def _plan_of(repair: Repair, flags: Mapping[str, Any]) -> Plan:
    """The plan that a store was extracted by, of which a stranger's store may say anything."""
    try:
        return _plan(repair, flags)
    except (LookupError, TypeError, AttributeError) as error:
        got = f"of another form ({type(error).__name__}: {error})"
        rule, action = "as qloc writes them", "Take the store from its source again"
        what = "parameters in the fingerprint"
        raise InputError(message(what, got, rule, str(repair.path), action)) from None


def _again(repair: Repair, plan: Plan) -> Extraction:
    """The extraction that made the store, once it is sure that it is the same; facts are handed over."""
    from qloc.store.integrity.check import layout_of
    from qloc.store.writing.phase_writer import refuse_other_phase
    from qloc.store.writing.skeleton import refuse_other_parameters

    extraction = as_held(prepared(plan), repair.path)
    refuse_other_parameters(repair.path, layout_of(repair.path), extraction.fingerprint)
    for stage in repair.stages[1:]:
        if stage.units:
            refuse_other_phase(repair.path, stage.phase, append_phases.fingerprint(extraction, stage.phase))
    if repair.facts:
        repair.put_facts(extraction.asking.fact_columns(extraction.facts))
    return extraction


def _run(stage: Stage, extraction: Extraction, progress: Progress) -> Mapping[str, str]:
    """Hand a stage the units that it lacks; what ran them."""
    units = stage.units
    progress.say(f"Running {len(units):,} units of {stage.phase} again …")
    with progress.stage(stage.phase, sum(unit.n_queries for unit in units)) as advance:
        for unit, block in _blocks(stage, extraction, units):
            stage.put(block)
            advance(unit.n_queries)
    return extraction.environment


def _blocks(
    stage: Stage, extraction: Extraction, units: tuple[Unit, ...]
) -> Iterator[tuple[Unit, Block | PhaseBlock]]:
    if stage.phase == _SIGNALS:
        return ((unit, extraction.extract(unit)) for unit in units)
    return append_phases.run_again(extraction, stage.path, stage.phase, units)


def signals_told(path: Path, phases: Collection[str] = (_SIGNALS,)) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a store says of the plan that it was extracted by: its part on signals.

    Parameters, which numbers depend on, are in its fingerprints, the rest in the root.

    Parameters
    ----------
    path : Path
        The store.
    phases : collection of str, default ("signals",)
        Phases whose parameters have to be there.

    Returns
    -------
    known : dict of str to Any
        Fields of a plan.
    parameters : dict of str to Any
        Phase → its parameters.

    Raises
    ------
    InputError
        The store was made without a model.
    """
    from qloc.store.integrity.check import root_attributes

    attributes = root_attributes(path)
    made_from = {phase: one.get("made_from", {}) for phase, one in attributes["fingerprint"].items()}
    parameters = {phase: one.get("parameters") for phase, one in made_from.items()}
    if any(parameters.get(phase) is None for phase in phases) or "model" not in attributes:
        rule = "an extraction's, which can be repeated"
        action = "Make the store again as it was made"
        raise InputError(message("store", "made without a model", rule, str(path), action))
    told = {"model": attributes["model"], "facts": attributes.get("facts")}
    told |= {"revision": attributes.get("revision") or None, **parameters[_SIGNALS]}
    known = {name: value for name, value in told.items() if name in Plan.model_fields}
    known["pairs"] = attributes.get("pairs", "single")  # told where there are groups
    if "pair_queries" in attributes:
        known["pair_queries"] = attributes["pair_queries"]
    return known, parameters


def _plan(repair: Repair, flags: Mapping[str, Any]) -> Plan:
    """The plan that a store was extracted by."""
    known, parameters = signals_told(repair.path, [stage.phase for stage in repair.stages])
    later = [stage.phase for stage in repair.stages if stage.phase != _SIGNALS]
    known["phases"] = (_SIGNALS, *later)
    known |= {phase: _part(phase, parameters[phase]) for phase in later}
    probed = {phase: probes for phase in later if (probes := parameters[phase].get(append_phases.PROBES))}
    if probed:  # what older stores do not name, they did otherwise than a plan's defaults say
        synapses = bool(probed.get("interventions", {}).get("synapses"))
        known[append_phases.PROBES] = {**next(iter(probed.values())), "synapses": synapses}
    given = {name: value for name, value in flags.items() if value is not None}
    if append_phases.OWN_SETS in parameters.get("interventions", {}):
        known["sets"] = _sets(repair)
    return plan_from(flags=known | given)


def _part(phase: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a phase does, of the parameters in its fingerprint."""
    fields = type(getattr(Plan(), phase)).model_fields
    told = {name: value for name, value in parameters.items() if name in fields}
    # What older stores do not name, they did otherwise than a plan's defaults say.
    if phase == "interventions" or MATCHED in parameters.get("sets", ()):
        told.setdefault("matching", "decile")
    if phase == "interventions":
        told["own_controls"] = bool(parameters.get("own_controls"))
    if phase == "edits":
        told.setdefault("text", "joined")
        # There is a digest of what facts entail, or a rule of new objects, where a plan has a switch.
        told["entailments"] = not {"entailments", "new_object"}.isdisjoint(parameters)
    if phase in ("edits", "tracing"):
        told["pairs"] = bool(parameters.get("pairs"))
    if "rome" in told:
        told["rome"] = {"best_by": "loss", **told["rome"]}
    return told


def _sets(repair: Repair) -> str | None:
    """Where the users' own sets were when the phase was run, as the manifest says."""
    run: dict[str, Any] = repair.manifest["run"].get("phases", {}).get("interventions", {})
    found = run.get("plan", {}).get("sets")
    return None if found is None else str(found)


def _described(what: str) -> dict[str, Any]:
    """What the manifest says of a run that did not extract the whole store."""
    from qloc.version import __version__

    return {"qloc": __version__, what: datetime.now(UTC).isoformat(timespec="seconds")}
