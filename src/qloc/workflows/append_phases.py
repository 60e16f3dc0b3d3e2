"""The phases after ``signals``: run, or resumed, and appended to the store that they are chosen from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qloc.canonical_json import digest, file_digest
from qloc.facts import TARGET_NEW
from qloc.neuron_set_files import has_own_controls, read_own_sets
from qloc.phase_plan import ROME_TRACED
from qloc.workflows.analyze import open_signals
from qloc.workflows.phase_steps import STEPS, PhaseSteps

if TYPE_CHECKING:
    from qloc.block import PhaseBlock, PhaseOutline, Shard, Unit
    from qloc.extract.signals.extraction import Extraction
    from qloc.plan import Plan
    from qloc.progress import Progress
    from qloc.store.units.coordinator import Coordinator
    from qloc.store.units.ledger import UnitRecord
    from qloc.store.writing.phase_writer import PhaseWriter
    from qloc.workers.runner import Runner


@dataclass(frozen=True, kw_only=True)
class PhaseUnits:
    """Runs units of a phase and writes their files; called wherever units are run.

    What is dear (the open study, the sets of all queries, the model) is made once for an extraction, and kept
    with it.

    Attributes
    ----------
    extraction : Extraction
        Model and plan; the weights may not be read yet.
    store : Path
        The complete store that the phase is chosen from.
    phase : str
        Its name.
    shard : Path or None
        The shard's store that units are written to; None where they are written to ``store``.
    """

    extraction: Extraction
    store: Path
    phase: str
    shard: Path | None = None

    def __call__(self, unit: Unit) -> UnitRecord:
        """Run a unit and write its file; it does not count until recorded."""
        from qloc.store.writing.phase_writer import write_phase_unit

        return write_phase_unit(self.shard or self.store, self.phase, self.block(unit))

    def block(self, unit: Unit) -> PhaseBlock:
        """Choose a unit's arms and run them.

        Parameters
        ----------
        unit : Unit
            A run of facts.

        Returns
        -------
        PhaseBlock
            The unit's arrays.
        """
        arms_of, run = self._steps()
        return run.extract(unit, arms_of(unit))

    def outline(self) -> PhaseOutline:
        """Return what is known of the phase before the model has run for it.

        Returns
        -------
        PhaseOutline
            Sizes, labels and attributes of the phase.
        """
        return self._steps()[1].outline

    def _steps(self) -> PhaseSteps:
        made: dict[tuple[str, str], PhaseSteps] = self.extraction.made
        key = (str(self.store.absolute()), digest(fingerprint(self.extraction, self.phase)))
        if key not in made:
            made.clear()
            chosen_from = open_signals(self.store, parents_of(self.extraction.plan, self.phase))
            made[key] = STEPS[self.phase](self.extraction, chosen_from)
        return made[key]


OWN_SETS: Final = "own_sets"
"""Of a phase's parameters, the sha256 of the file with users' own sets."""

PROBES: Final = "probes"
"""Of a phase's parameters, and of the plan: which words are asked; there where words are."""


def fingerprint(extraction: Extraction, phase: str) -> dict[str, Any]:
    """Return what a phase's numbers depend on: what it was chosen from, and its own parameters.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    phase : str
        Its name.

    Returns
    -------
    dict of str to Any
        Nested, JSON only.
    """
    plan = extraction.plan
    of_phase = {
        "interventions": plan.intervention_plan().parameters,
        "edits": plan.edit_plan().parameters,
        "tracing": plan.tracing.parameters,
    }
    parameters = {**of_phase[phase](), "seed": plan.seed, **_rules(plan, phase)}
    if phase == "edits":
        parameters |= _of_facts(extraction)
    takes_pairs = {"edits": plan.edits.pairs, "tracing": plan.tracing.pairs}
    if takes_pairs.get(phase, False) and extraction.facts.has_pairs:
        parameters["pairs"] = True
        if cues := extraction.facts.cues_digest():
            parameters["cues"] = cues
    if plan.probes is not None and phase in ("interventions", "edits"):
        plan.probes.require_relations(extraction.facts.relations())
        parameters[PROBES] = plan.probes.parameters()
        if phase == "interventions" and plan.probes.synapses:
            parameters[PROBES]["synapses"] = True
    if plan.sets is not None and phase == "interventions":
        own = read_own_sets(plan.sets)  # refused where it is none of that form
        parameters[OWN_SETS] = file_digest(Path(plan.sets))
        if has_own_controls(plan.intervention_plan(), own):
            parameters["own_controls"] = True
    parents = {name: digest(fingerprint(extraction, name)) for name in parents_of(plan, phase)}
    parents |= {"signals": digest(extraction.fingerprint)}
    return {"phase": phase, "parents": parents, "parameters": parameters}


def parents_of(plan: Plan, phase: str) -> tuple[str, ...]:
    """Return the phases besides ``signals`` that a phase is chosen from.

    Parameters
    ----------
    plan : Plan
        The whole plan.
    phase : str
        Name of the phase.

    Returns
    -------
    tuple of str
        Tracing, for edits of the layer that it names; else none.
    """
    return ("tracing",) if phase == "edits" and ROME_TRACED in plan.edits.sets else ()


def _of_facts(extraction: Extraction) -> dict[str, str]:
    """Return what facts give to edits beside their queries; older stores of other facts keep theirs."""
    facts = extraction.facts
    if not extraction.plan.edit_plan().entailments:
        return {}
    given = {"entailments": facts.entailments_digest()} if facts.entailments_digest() else {}
    targets = any(TARGET_NEW in fact.attributes for fact in facts.facts)
    return given | ({"new_object": TARGET_NEW} if targets else {})


def _rules(plan: Plan, phase: str) -> dict[str, str]:
    """Return rules that bear on some plans only: older stores of the others keep their fingerprint."""
    sums_others = plan.answer_tokens == "first" or plan.target != "good"
    if phase == "interventions" and sums_others and "mean" in plan.interventions.operations:
        return {"mean": "of stored activations"}
    return {}


def is_held(extraction: Extraction, store: Path, phase: str) -> bool:
    """Return whether a complete store has a phase of this plan; told without the weights.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    store : Path
        Complete.
    phase : str
        Its name.

    Returns
    -------
    bool
        False where the store lacks the phase.

    Raises
    ------
    FingerprintError
        It has the phase with other parameters; shows where they differ.
    """
    from qloc.store.writing.phase_writer import holds_phase

    return holds_phase(store, phase, fingerprint(extraction, phase))


def append_phase(extraction: Extraction, store: Path, phase: str, progress: Progress, run: Runner) -> None:
    """Run a phase over a complete store, or go on where an earlier run was stopped.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    store : Path
        Complete.
    phase : str
        Its name.
    progress : Progress
        Told of each unit.
    run : Runner
        What runs units; called again and again, it keeps what is dear where they are run.

    Raises
    ------
    InputError, FingerprintError, LockedError, ModelError, StorageError
        As for an extraction.
    """
    from qloc.store.integrity.verify import require_present
    from qloc.store.writing.phase_writer import PhaseWriter

    require_present(store)
    units = PhaseUnits(extraction=extraction, store=store.absolute(), phase=phase)
    try:
        outline = run.call(units.outline)
        with PhaseWriter.open(store, outline, fingerprint(extraction, phase)) as writer:
            _run_phase(writer, units, outline, progress, run)
    finally:
        extraction.made.clear()


def append_part(
    extraction: Extraction,
    signals: Path,
    out: Path,
    phase: str,
    shard: Shard,
    progress: Progress,
    run: Runner,
) -> None:
    """Run a shard's units of a phase into the shard's store, chosen from the signals of all shards.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    signals : Path
        Complete; merged from all shards.
    out : Path
        The shard's store.
    phase : str
        Its name.
    shard : Shard
        The part of the units.
    progress : Progress
        Told of each unit.
    run : Runner
        What runs units.

    Raises
    ------
    InputError, FingerprintError, LockedError, ModelError, StorageError
        As for an extraction.
    """
    from qloc.store.writing.phase_writer import PhaseWriter

    places = {"store": signals.absolute(), "shard": out.absolute()}
    units = PhaseUnits(extraction=extraction, phase=phase, **places)
    try:
        outline = run.call(units.outline)
        with PhaseWriter.of_shard(out, outline, fingerprint(extraction, phase), shard) as writer:
            _run_phase(writer, units, outline, progress, run)
    finally:
        extraction.made.clear()


def _run_phase(
    writer: PhaseWriter, units: PhaseUnits, outline: PhaseOutline, progress: Progress, run: Runner
) -> None:
    """Run what is missing of a phase, and finish it as far as it is this writer's."""
    started, phase = datetime.now(UTC), units.phase
    if not writer.layout.phases[phase].groups:
        reasons = "; ".join(f"{name} {value}" for name, value in outline.attrs.items())
        progress.say(f"Phase {phase} cannot be run here, and is left empty: {reasons}.")
    run_units(writer, units, progress, phase, run)
    if writer.shard is None:
        progress.say(f"Assembling {phase} of {writer.path} …")
    environment = run.call(partial(getattr, units.extraction, "environment"))
    writer.finalize(described(units.extraction, environment, started))


def timed(extraction: Extraction, store: Path, phase: str) -> float:
    """Append a phase to a small store, and tell what its last unit took.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    store : Path
        Complete.
    phase : str
        Its name.

    Returns
    -------
    float
        Seconds; 0 where the phase cannot be run.

    Raises
    ------
    InputError, ModelError, StorageError
        As for an extraction.
    """
    from qloc.store.writing.phase_writer import PhaseWriter

    units = PhaseUnits(extraction=extraction, store=store.absolute(), phase=phase)
    spent = 0.0
    try:
        with PhaseWriter.open(store, units.outline(), fingerprint(extraction, phase)) as writer:
            for unit in writer.missing():
                clock = time.monotonic()
                writer.record(units(unit))
                spent = time.monotonic() - clock
            writer.finalize()
    finally:
        extraction.made.clear()
    return spent


def run_again(
    extraction: Extraction, store: Path, phase: str, units: Iterable[Unit]
) -> Iterator[tuple[Unit, PhaseBlock]]:
    """Run units of a phase that a store has, as when it was appended; for a store whose signals are sound.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    store : Path
        The store.
    phase : str
        Its name.
    units : iterable of Unit
        Those that are run.

    Yields
    ------
    tuple of (Unit, PhaseBlock)
        Each unit with its arrays.

    Raises
    ------
    FingerprintError
        The phase would be another here; shows where they differ.
    InputError, ModelError
        As for an extraction.
    """
    from qloc.store.writing.phase_writer import refuse_other_outline

    extraction.made.clear()
    work = PhaseUnits(extraction=extraction, store=store.absolute(), phase=phase)
    try:
        refuse_other_outline(store, work.outline(), fingerprint(extraction, phase))
        for unit in units:
            yield unit, work.block(unit)
    finally:
        extraction.made.clear()


def run_units(
    writer: Coordinator[Any], work: Callable[[Unit], UnitRecord], progress: Progress, stage: str, run: Runner
) -> None:
    """Run and record the units that are missing, telling how far it is in queries.

    Parameters
    ----------
    writer : Coordinator[Any]
        Holds the lock, and records units.
    work : callable
        Runs a unit and writes its file.
    progress : Progress
        Told of each unit.
    stage : str
        What the progress is called.
    run : Runner
        Where units are run.
    """
    missing, units = writer.missing(), writer.units
    total, left = sum(unit.n_queries for unit in units), sum(unit.n_queries for unit in missing)
    if n_done := len(units) - len(missing):
        progress.say(f"{n_done:,} of {len(units):,} units of {stage} are there already.")
    with progress.stage(stage, total, done=total - left) as advance:
        for unit, record in run.each(work, missing):
            writer.record(record)
            advance(unit.n_queries)


def described(extraction: Extraction, environment: Mapping[str, str], started: datetime) -> dict[str, Any]:
    """Return what the manifest says of a run that completed a phase.

    Parameters
    ----------
    extraction : Extraction
        Model and plan.
    environment : dict of str to str
        Versions and device where units were run.
    started : datetime
        When the run began.

    Returns
    -------
    dict of str to Any
        JSON only.
    """
    from qloc.version import __version__

    return {
        "qloc": __version__,
        "environment": dict(environment),
        "plan": extraction.plan.model_dump(mode="json", exclude={"analysis"}),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
