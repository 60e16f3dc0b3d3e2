"""Studies with a known truth, for teaching, planning and calibration: in memory, or as a store on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qloc.canonical_json import digest
from qloc.errors import InputError, message
from qloc.progress import Progress
from qloc.simulation.in_memory_store import datasets_of
from qloc.simulation.interventions import Effects
from qloc.simulation.phases import PLANTED_BY_DEFAULT, PLANTED_PHASES, PlantedPhase
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
    capacity: int = 4096,
    phases: Collection[str] | None = None,
    effects: Effects | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> Study:
    """Simulate a study with planted template, answer and fact neurons.

    Parameters
    ----------
    out : Path, optional
        Where to write a store. Without it, the study stays in memory.
    tier : {"panel", "dense"}
        As for ``qloc extract``.
    floor : float
        As for ``qloc extract``.
    capacity : int
        As for ``qloc extract``.
    phases : collection of str, optional
        What to simulate besides ``signals``: ``interventions``, ``edits``, ``tracing``. None: the first two
        where ``effects`` are given, else none.
    effects : Effects, optional
        Effects of interventions, attention and edits on the answers. None: those of ``Effects()``.
    progress : Progress, optional
        Shows the progress of writing a store.
    **parameters : Any
        Parameters of :class:`qloc.simulation.design.Planting`: ``facts=400, relations=20, templates=8,
        template_strength=0.5, answer_strength=0.4, fact_strength=0.2, noise=4.0, seed=0`` and more.

    Returns
    -------
    Study
        The study, opened for analysis.

    Raises
    ------
    InputError
        A parameter is outside its domain, a phase is unknown, or the store at ``out`` has other parameters.

    Examples
    --------
    >>> study = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> len(study.queries["query"]) == study.neurons().n_queries
    True
    """
    wanted = set(PLANTED_BY_DEFAULT if phases is None and effects else phases or ())
    if unknown := sorted(wanted.difference(("signals", *PLANTED_PHASES))):
        rule = f"some of signals, {', '.join(PLANTED_PHASES)}"
        raise InputError(message("phases", ", ".join(unknown), rule, "simulate", "Correct them"))
    planted, effects = plant(**parameters), effects or Effects()
    made = (PlantedPhase.of(planted, effects, name) for name in PLANTED_PHASES if name in wanted)
    if out is None:
        study = _in_memory(planted, tier, floor, capacity)
        groups = {name: group for phase in made for name, group in phase.groups.items()}
        return replace(study, datasets={**study.datasets, **groups})
    from qloc.store.writing.phase_writer import PhaseWriter
    from qloc.store.writing.writer import Writer
    from qloc.workflows.analyze import open_study

    progress = progress or Progress(quiet=True)
    fingerprint = {"planting": digest(planted.outline.attrs["parameters"]), "tier": tier, "floor": floor}
    kept: dict[str, Any] = {"tier": tier, "floor": floor, "capacity": capacity, "store_dtype": "float32"}
    with Writer.open(out, planted.outline, fingerprint, **kept) as writer:
        for unit in _missing(writer, "signals", progress):
            writer.write(planted.block(unit))
        writer.finalize()
    parents = {"signals": digest(fingerprint)}
    for phase in made:
        of = {"phase": phase.name, "parents": parents, "parameters": effects.parameters()}
        with PhaseWriter.open(out, phase.outline, of) as appended:
            for unit in _missing(appended, phase.name, progress):
                appended.write(phase.block(unit))
            appended.finalize()
    return open_study(out)


def _missing(writer: Coordinator[Any], name: str, progress: Progress) -> Iterator[Unit]:
    """Yield the units that are still to be written, and count each as done afterwards."""
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
