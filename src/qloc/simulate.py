"""Studies with a known truth, for teaching, planning and calibration: in memory, or as a store on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qloc.canonical import digest
from qloc.errors import InputError, message
from qloc.in_memory import datasets_of
from qloc.planted import Planted, plant
from qloc.planted_edits import edits_of
from qloc.planted_effects import Effects, interventions_of, reprompts_of, synapses_of

if TYPE_CHECKING:
    from qloc.analysis.study import Study


def simulate(
    out: Path | None = None,
    *,
    tier: Literal["panel", "dense"] = "panel",
    floor: float = 0.05,
    capacity: int = 1024,
    effects: Effects | None = None,
    **parameters: Any,
) -> Study:
    """A study with planted template, answer and fact neurons.

    Parameters
    ----------
    out : where to write a store; without it, the study lives in memory.
    tier, floor, capacity : as for ``qloc extract``.
    effects : outcomes of interventions, attention and edits to plant besides; in memory only.
    parameters : of :class:`qloc.planted_design.Planting`: ``facts=400, relations=20, templates=8,
        template_strength=0.5, answer_strength=0.4, fact_strength=0.2, noise=4.0, seed=0`` and more.

    Returns
    -------
    Study : opened for analysis.

    Raises
    ------
    InputError : a parameter out of its domain, a store at ``out`` with other parameters, or one with effects.

    Examples
    --------
    >>> study = simulate(facts=12, relations=2, templates=3, seed=1)
    >>> len(study.queries["query"]) == study.neurons().n_queries
    True
    """
    planted = plant(**parameters)
    if out is None:
        study = _in_memory(planted, tier, floor, capacity)
        return study if effects is None else _with_outcomes(study, planted, effects)
    if effects is not None:
        rule = "none where a store is written"
        raise InputError(message("effects", effects, rule, "simulate", "Simulate in memory: leave out `out`"))
    from qloc.pipeline import open_study
    from qloc.store.write import Writer

    fingerprint = {"planting": digest(planted.outline.attrs["parameters"]), "tier": tier, "floor": floor}
    with Writer.open(
        out, planted.outline, fingerprint, tier=tier, floor=floor, capacity=capacity, store_dtype="float32"
    ) as writer:
        for unit in writer.missing():
            writer.write(planted.block(unit))
        writer.finalize()
    return open_study(out)


def _with_outcomes(study: Study, planted: Planted, effects: Effects) -> Study:
    found = {
        "interventions": interventions_of(planted, effects),
        "synapses": synapses_of(planted, effects),
        "reprompts": reprompts_of(planted, effects),
        "edits": edits_of(planted, effects),
    }
    return replace(study, datasets={**study.datasets, **found})


def _in_memory(planted: Planted, tier: Literal["panel", "dense"], floor: float, capacity: int) -> Study:
    from qloc.analysis.study import Study

    datasets = datasets_of(planted.outline, planted.blocks(), tier=tier, floor=floor, capacity=capacity)
    fingerprint = digest({**planted.outline.attrs["parameters"], "tier": tier, "floor": floor})
    return Study(datasets, {**planted.outline.attrs, "fingerprint": fingerprint}, complete=True)
