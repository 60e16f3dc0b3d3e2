"""Planted phases are laid out as in a store."""

from typing import Any

import numpy as np

from qloc.simulation.interventions import Effects
from qloc.simulation.phases import PLANTED_PHASES
from qloc.simulation.simulate import simulate
from qloc.store.schema.phase_variables import PHASES

PLANTING: dict[str, Any] = {
    "facts": 30,
    "relations": 3,
    "templates": 4,
    "one_to_one": 1,
    "n_neurons": 32,
    "pairs": 5,
}


def test_planted_outcomes_are_laid_out_as_in_a_store():
    """Names, dims and types of docs/store.md; what is empty is NaN or -1, and the same seed gives the same."""
    study = simulate(**PLANTING, effects=Effects(), phases=PLANTED_PHASES, empty=0.1, seed=1)
    assert "synapse_views" not in study.datasets  # what a few facts' neurons do is not planted
    for variable in (variable for phase in PHASES.values() for variable in phase):
        if variable.group == "synapse_views":
            continue
        found = study.datasets[variable.group]
        if variable.name not in found:
            # Labels are copied by a store; strengths, losses and probes, which older stores lack too, are not planted.
            names = {"fact", "relation", "template", "strength", "value_loss"}
            names |= {f"{base}{of}_log_probability" for base in ("", "base_") for of in ("bad", "word")}
            assert variable.name in names, variable.path
            continue
        assert found[variable.name].dims == variable.dims, variable.path
        if variable.dtype != "string":
            assert found[variable.name].dtype == variable.dtype, variable.path
    own = study.interventions.sel(operation="suppress", neuron_set="own")
    nothing = study.neurons().sizes() == 0
    assert nothing.any()
    assert np.array_equal(np.isnan(own["log_probability"].values), nothing)
    assert np.array_equal(own["rank"].values == -1, nothing)
    again = simulate(**PLANTING, effects=Effects(), phases=PLANTED_PHASES, empty=0.1, seed=1)
    for group in ("interventions", "synapses", "edits", "entailments", "tracing"):
        assert study.datasets[group].identical(again.datasets[group])
