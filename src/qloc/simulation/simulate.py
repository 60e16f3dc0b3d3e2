"""Studies with a known truth, for teaching, planning and calibration: in memory, or as a store on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qloc.canonical_json import digest
from qloc.errors import InputError, message
from qloc.progress import Progress
from qloc.simulation.in_memory_store import datasets_of
from qloc.simulation.interventions import Effects
from qloc.simulation.phases import PHASES, PlantedPhase
from qloc.simulation.planted import Planted, plant

if TYPE_CHECKING:
    from qloc.analysis.inputs.study import Study
    from qloc.block import Unit
    from qloc.store.units.coordinator import Coordinator


def simulate(
    out: Path | None = None,
    *,
    tier: Literal["panel", "dense"] = "panel",
    floor: float = 0.05,
    capacity: int = 1024,
    phases: Collection[str] | None = None,
    effects: Effects | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> Study:
    """A study with planted template, answer and fact neurons.

    Parameters
    ----------
    out : where to write a store; without it, the study lives in memory.
    tier, floor, capacity : as for ``qloc extract``.
    phases : what to simulate besides ``signals``: ``interventions``, ``edits``; where None, nothing, and
        with effects both.
    effects : of interventions, attention and edits on the answers; those of ``Effects()`` where None.
    parameters : of :class:`qloc.simulation.design.Planting`: ``facts=400, relations=20, templates=8,
        template_strength=0.5, answer_strength=0.4, fact_strength=0.2, noise=4.0, seed=0`` and more.

    Returns
    -------
    Study : opened for analysis.

    Raises
    ------
    InputError : a parameter out of its domain, an unknown phase, a store at ``out`` with other parameters.

    Examples
    --------
    >>> study = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> len(study.queries["query"]) == study.neurons().n_queries
    True
    """
    wanted = set(PHASES if phases is None and effects else phases or ())
    if unknown := sorted(wanted.difference(("signals", *PHASES))):
        rule = f"some of signals, {', '.join(PHASES)}"
        raise InputError(message("phases", ", ".join(unknown), rule, "simulate", "Correct them"))
    planted, effects = plant(**parameters), effects or Effects()
    made = (PlantedPhase.of(planted, effects, name) for name in PHASES if name in wanted)
    if out is None:
        study = _in_memory(planted, tier, floor, capacity)
        groups = {name: group for phase in made for name, group in phase.groups.items()}
        return replace(study, datasets={**study.datasets, **groups})
    from qloc.store.writing.phase_writer import PhaseWriter
    from qloc.store.writing.writer import Writer
    from qloc.workflows.analyze import open_study

    told = progress or Progress(quiet=True)
    fingerprint = {"planting": digest(planted.outline.attrs["parameters"]), "tier": tier, "floor": floor}
    kept: dict[str, Any] = {"tier": tier, "floor": floor, "capacity": capacity, "store_dtype": "float32"}
    with Writer.open(out, planted.outline, fingerprint, **kept) as writer:
        for unit in _missing(writer, "signals", told):
            writer.write(planted.block(unit))
        writer.finalize()
    parents = {"signals": digest(fingerprint)}
    for phase in made:
        of = {"phase": phase.name, "parents": parents, "parameters": asdict(effects)}
        with PhaseWriter.open(out, phase.outline, of) as appended:
            for unit in _missing(appended, phase.name, told):
                appended.write(phase.block(unit))
            appended.finalize()
    return open_study(out)


def _missing(writer: Coordinator[Any], name: str, progress: Progress) -> Iterator[Unit]:
    """The units that are to be written, telling of each that is."""
    missing, total = writer.missing(), writer.layout.sizes["query"]
    with progress.stage(name, total, done=total - sum(unit.n_queries for unit in missing)) as advance:
        for unit in missing:
            yield unit
            advance(unit.n_queries)


def _in_memory(planted: Planted, tier: Literal["panel", "dense"], floor: float, capacity: int) -> Study:
    from qloc.analysis.inputs.study import Study

    datasets = datasets_of(planted.outline, planted.blocks(), tier=tier, floor=floor, capacity=capacity)
    fingerprint = digest({**planted.outline.attrs["parameters"], "tier": tier, "floor": floor})
    return Study(datasets, {**planted.outline.attrs, "fingerprint": fingerprint}, complete=True)
