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
        plan = Plan(model=str(made.folder), methods="ig", dtype="float64", unit_facts=unit_facts, threads=1)
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
    views = None
    if phase.part.viewed_facts:
        views = np.sort(rng.integers(0, dense.shape[1], (sizes["query"], 3)))
        views[::2] = -1
        views = views[here]
    return phase.extract(
        unit,
        Arms(sets={"own": sparse.csr_array(dense[here])}, neighbor=nobody, other_fact=nobody, views=views),
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


def test_views_are_there_where_the_plan_asks_for_them(phase_of: Callable[..., Interventions]) -> None:
    """By themselves or among other units the same, and none where attention cannot be changed."""
    views = {"viewed_facts": 2, "viewed_neurons": 3}
    whole, apart = phase_of(**views), phase_of(unit_facts=1, **views)
    assert whole.outline.added == ("interventions/strength", "synapse_views")
    assert whole.outline.sizes == {"view": 3}
    assert whole.outline.attrs["viewed"].startswith("gradient × activation")
    assert "viewed" not in phase_of().outline.attrs
    every = _block(whole, whole.extraction.outline.units[0])
    second = _block(apart, apart.extraction.outline.units[1])
    names = ("viewed_neuron", "activation", "gradient", "synapse")
    for path in [f"synapse_views/{name}" for name in names]:
        np.testing.assert_allclose(every.arrays[path][3:5], second.arrays[path], rtol=1e-5, err_msg=path)
    told = every.arrays["synapse_views/viewed_neuron"] >= 0
    assert told.any()
    np.testing.assert_array_equal(np.isfinite(every.arrays["synapse_views/gradient"]), told)
    refused = phase_of(**views)
    refused.extraction.__dict__["attention_refused"] = "for a test"
    assert (refused.outline.added, refused.outline.sizes) == (("interventions/strength",), {})


def test_synapses_are_left_out_where_attention_is_refused(phase_of: Callable[..., Interventions]) -> None:
    phase = phase_of()
    phase.extraction.__dict__["attention_refused"] = "for a test"
    assert phase.outline.absent == ("synapses",)
    assert phase.outline.attrs["attention"] == "for a test"
    arrays = _block(phase, phase.extraction.outline.units[0]).arrays
    assert {path.split("/")[0] for path in arrays} == {"interventions"}
