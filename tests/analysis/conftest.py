"""Small planted studies, and neuron sets written by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from qloc.analysis.inputs.study import Study
from qloc.neurons import NeuronSets
from qloc.simulation.interventions import Effects
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

SMALL: dict[str, Any] = {"facts": 40, "relations": 4, "templates": 4, "one_to_one": 1, "n_neurons": 64}
WITH_PHASES: dict[str, Any] = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}


@pytest.fixture(scope="session")
def planted() -> NeuronSets:
    """Return the sets of a small planted study."""
    return plant(**SMALL, seed=1).sets()


@pytest.fixture(scope="session")
def study() -> Study:
    """Return a small study with panels, two methods and minimal pairs."""
    return simulate(**SMALL, pairs=6, conflict=0.4, methods=("ig", "grad_x_act"), seed=2)


@pytest.fixture(scope="session")
def dense_study() -> Study:
    """Return the same study with every attribution."""
    return simulate(tier="dense", **SMALL, pairs=6, conflict=0.4, methods=("ig", "grad_x_act"), seed=2)


@pytest.fixture(scope="session")
def changed_study() -> Study:
    """A study with planted outcomes of interventions, attention and edits."""
    return simulate(effects=Effects(), **WITH_PHASES, pairs=4, empty=0.05, seed=3)


@pytest.fixture(scope="session")
def edited_study() -> Study:
    """The same with fewer known queries, so that many edits are of queries that are not known."""
    return simulate(effects=Effects(), **WITH_PHASES, pairs=4, known=0.7, seed=4)


@pytest.fixture
def make_sets() -> Callable[..., NeuronSets]:
    """Return a function from rows of (fact, template, answer, neurons) to NeuronSets, all known."""

    def make(rows: Sequence[tuple[int, str, str, Sequence[int]]], relation: str = "R") -> NeuronSets:
        n_facts = max(row[0] for row in rows) + 1
        wide = np.zeros((len(rows), 32), dtype=bool)
        for place, (_, _, _, neurons) in enumerate(rows):
            wide[place, list(neurons)] = True
        answer_of = {fact: answer for fact, _, answer, _ in rows}
        return NeuronSets(
            member=sparse.csr_array(wide),
            n_layers=4,
            n_neurons=8,
            method="ig",
            rule="by hand",
            queries={
                "fact": np.array([row[0] for row in rows]),
                "template": np.array([row[1] for row in rows]),
                "relation": np.array([relation] * len(rows)),
                "answer": np.array([row[2] for row in rows]),
                "kind": np.array(["fact"] * len(rows)),
                "known": np.ones(len(rows), dtype=bool),
                "log_probability": np.zeros(len(rows), dtype=np.float32),
            },
            facts={
                "id": np.array([f"f{n}" for n in range(n_facts)]),
                "subject": np.array([f"s{n}" for n in range(n_facts)]),
                "relation": np.array([relation] * n_facts),
                "object": np.array([answer_of.get(n, "") for n in range(n_facts)]),
                "leaks": np.zeros(n_facts, dtype=bool),
            },
        )

    return make


@pytest.fixture(scope="session")
def traced_study() -> Study:
    """A study with planted outcomes of causal tracing, of facts and minimal pairs."""
    return simulate(effects=Effects(), phases=("tracing",), **WITH_PHASES, pairs=4, seed=5)
