"""Phase interventions: every group of arrays, by a plan, unit by unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from qloc.arms import Arms
from qloc.block import PhaseBlock, Unit
from qloc.extract.interventions.phase import Interventions, prepare
from qloc.extract.models.loading import source
from qloc.extract.signals.extraction import Extraction
from qloc.phase_plan import InterventionPlan
from qloc.plan import Plan

PART: dict[str, Any] = {
    "operations": ("suppress",),
    "sets": ("own", "matched"),
    "synapse_operations": ("suppress",),
    "synapse_sets": ("published", "knowledge"),  # not drawn
    "alpha": 1.1,
}


@pytest.fixture(scope="module")
def phase_of(tiny: Callable[[str], Any]) -> Callable[..., Interventions]:
    def plan(unit_facts: int = 32, **changed: Any) -> Interventions:
        made = tiny("gpt2")
        plan = Plan(model=str(made.folder), methods="ig", dtype="float64", unit_facts=unit_facts)
        part = InterventionPlan(**{**PART, **changed})
        extraction = Extraction(plan, source(str(made.folder)), made.facts)
        return prepare(extraction, part, part.sets, None)

    return plan


def _block(phase: Interventions, unit: Unit) -> PhaseBlock:
    """Sets of a study's queries, of which the unit has its own rows."""
    sizes = phase.extraction.outline.sizes
    rng = np.random.default_rng(2)
    dense = rng.random((sizes["query"], sizes["layer"] * sizes["neuron"])) < 0.05
    here = slice(unit.first_query, unit.last_query)
    nobody = np.full(unit.n_queries, -1)
    return phase.extract(
        unit, Arms(sets={"own": sparse.csr_array(dense[here])}, neighbor=nobody, other_fact=nobody)
    )


def test_the_outline_names_what_is_planned(phase_of: Callable[..., Interventions]) -> None:
    outline = phase_of().outline
    assert outline.labels == {
        "operation": ("suppress",),
        "neuron_set": ("own", "matched"),
        "synapse_operation": ("suppress",),
        "synapse_set": ("published", "knowledge"),
    }
    assert (outline.absent, outline.added) == ((), ("interventions/strength",))
    assert outline.attrs["attention"] == "changed"
    again = phase_of(sets=("own", "reprompt")).outline
    assert (again.added, again.attrs["reprompt"]) == (("interventions/strength", "reprompts"), "- ")


def test_units_do_not_depend_on_each_other(phase_of: Callable[..., Interventions]) -> None:
    """Three facts at once, and the second alone: the same rows, to rounding."""
    whole, apart = phase_of(), phase_of(unit_facts=1)
    every, second = (
        _block(whole, whole.extraction.outline.units[0]),
        _block(apart, apart.extraction.outline.units[1]),
    )
    assert {path.split("/")[0] for path in every.arrays} == {"interventions", "synapses"}
    for path, values in second.arrays.items():
        np.testing.assert_allclose(every.arrays[path][..., 3:5], values, rtol=1e-6, atol=1e-6, err_msg=path)
    assert (second.arrays["interventions/n_neurons"] > 0).all()


def test_synapses_are_left_out_where_attention_is_refused(phase_of: Callable[..., Interventions]) -> None:
    phase = phase_of()
    phase.extraction.__dict__["attention_refused"] = "for a test"
    assert phase.outline.absent == ("synapses",)
    assert phase.outline.attrs["attention"] == "for a test"
    arrays = _block(phase, phase.extraction.outline.units[0]).arrays
    assert {path.split("/")[0] for path in arrays} == {"interventions"}
