"""A planted study with every phase."""

from typing import Any

import pytest

from qloc.analysis.inputs.study import Study
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="session")
def size() -> dict[str, Any]:
    """Return the size of the planted study."""
    return {"facts": 40, "relations": 4, "templates": 5, "n_neurons": 64}


@pytest.fixture(scope="session")
def study(size: dict[str, Any]) -> Study:
    """Return signals, interventions and edits of 40 facts."""
    return simulate(**size, effects=Effects(), seed=5)
