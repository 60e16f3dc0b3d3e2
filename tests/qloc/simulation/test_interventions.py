"""Planted outcomes of interventions: effects are of the size that is asked for."""

from typing import Any

import numpy as np
import pytest

from qloc.simulation.edits import planted_edits
from qloc.simulation.interventions import Effects, interventions_of
from qloc.simulation.planted import plant

PLANTING: dict[str, Any] = {
    "facts": 30,
    "relations": 3,
    "templates": 4,
    "one_to_one": 1,
    "n_neurons": 32,
    "pairs": 5,
}


def test_size_scales_the_effects_that_are_not_named():
    planted = plant(**PLANTING, seed=1)
    none = Effects(size=0.0, mean={"own": 2.0}, relation=0, answer=0, template=0, fact=0, query=0)
    found = interventions_of(planted, none, ("suppress",), ("own", "union"))
    lost = (found["base_logit"] - found["logit"]).isel(operation=0).mean("query").values
    assert lost == pytest.approx([2.0, 0.0], abs=1e-6)
    edits = planted_edits(planted, none, ("update",), ("cas",))
    assert np.nanmean(edits["new_log_probability"][0, 0] - edits["base_new_log_probability"]) == 0
