"""Planted studies in memory and on disk: a store holds what memory holds."""

from typing import Any

import numpy as np
import pytest

from qloc.errors import FingerprintError, InputError
from qloc.simulation.interventions import Effects
from qloc.simulation.phases import PLANTED_PHASES
from qloc.simulation.simulate import simulate
from qloc.store.integrity.verify import verify

PLANTING: dict[str, Any] = {
    "facts": 30,
    "relations": 3,
    "templates": 4,
    "one_to_one": 1,
    "n_neurons": 32,
    "pairs": 5,
}


@pytest.mark.parametrize("tier", ["panel", "dense"])
def test_a_store_holds_what_memory_holds(tmp_path, tier):
    """Two implementations of the store's contract, compared variable by variable."""
    pytest.importorskip("zarr")
    planting = {
        **PLANTING,
        "tier": tier,
        "capacity": 40,
        "methods": ("ig", "grad_x_act"),
        "unit_facts": 8,
        "seed": 3,
    }
    stored, memory = simulate(tmp_path / "planted.zarr", **planting), simulate(**planting)
    assert stored.complete
    same(stored, memory)
    here, there = (study.neurons("ig", 0.8).member.toarray() for study in (stored, memory))
    assert np.array_equal(here, there)


def same(stored, memory):
    for name, group in memory.datasets.items():
        for variable in group.variables:
            ours, theirs = group[variable], stored.datasets[name][variable]
            assert ours.dims == theirs.dims, variable
            if ours.dtype.kind in "iufb":
                assert ours.dtype == theirs.dtype or name == "facts", variable
                np.testing.assert_array_equal(ours.values, theirs.values, err_msg=str(variable))
            else:
                assert theirs.values.astype(str).tolist() == ours.values.astype(str).tolist(), variable


def test_a_store_gets_phases_one_after_the_other(tmp_path):
    pytest.importorskip("zarr")
    path, planting = tmp_path / "planted.zarr", {**PLANTING, "unit_facts": 8, "seed": 3}
    assert simulate(path, **planting).phases == ("signals",)
    some = simulate(path, phases=("interventions",), **planting)
    assert some.phases == ("signals", "interventions")
    effects = Effects(size=0.5, seed=2)
    with pytest.raises(FingerprintError, match="size"):
        simulate(path, effects=effects, **planting)
    stored = simulate(tmp_path / "other.zarr", effects=effects, phases=PLANTED_PHASES, **planting)
    same(stored, simulate(effects=effects, phases=PLANTED_PHASES, **planting))
    assert (verify(tmp_path / "other.zarr"), stored.phases) == ([], ("signals", *PLANTED_PHASES))
    assert simulate(effects=effects, **planting).phases == ("signals", "interventions", "edits")
    with pytest.raises(
        InputError, match="phases is 'grams'; expected some of signals, interventions, edits, tracing"
    ):
        simulate(phases=("grams",), **planting)
