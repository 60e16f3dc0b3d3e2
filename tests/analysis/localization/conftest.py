"""Planted sets in which facts differ in how consistent they are."""

import pytest

from qloc.neurons import NeuronSets
from qloc.simulation.planted import plant


@pytest.fixture(scope="session")
def deep() -> NeuronSets:
    """Return facts that differ in how consistent they are, many with the same relation, answer and k."""
    return plant(
        facts=120, relations=3, templates=6, answers_per_relation=2, n_neurons=64, one_to_one=0, known=0.95,
        missing=0.03, fact_strength=0.3, fact_spread=1.0, seed=5,
    ).sets()  # fmt: skip
