"""Stores compared and neuron sets exchanged: Jaccard, refined neurons, and JSON there and back."""

import json

import numpy as np
import pytest

from qloc.errors import InputError
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import open_study
from qloc.workflows.exchange import diff, export_neurons, import_neurons, jaccard, refined_of_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "s.zarr"
    simulate(path, facts=12, relations=2, templates=4, seed=1)
    return path


def test_jaccard_is_that_of_python_sets(store):
    study = open_study(store)
    a, b = study.neurons("ig", 0.2), study.neurons("ig", 0.4)
    expected = []
    for query in range(a.n_queries):
        first, second = set(a.of(query)), set(b.of(query))
        expected.append(len(first & second) / len(first | second) if first | second else 1.0)
    assert jaccard(a, b).tolist() == pytest.approx(expected, abs=1e-15)  # one division in each


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_refined_neurons_are_in_more_than_a_share_of_the_sets(store, share):
    sets = open_study(store).neurons("ig", 0.2)
    refined = refined_of_store(sets, share)
    for row, name in enumerate(sets.facts["id"]):
        queries = np.flatnonzero(sets.queries["fact"] == row)
        counts: dict[int, int] = {}
        for query in queries:
            for neuron in sets.of(query).tolist():
                counts[neuron] = counts.get(neuron, 0) + 1
        kept = sorted(neuron for neuron, count in counts.items() if count > share * len(queries))
        assert refined[str(name)] == [list(divmod(neuron, sets.n_neurons)) for neuron in kept]


def test_a_share_is_below_one(store):
    with pytest.raises(InputError) as caught:
        refined_of_store(open_study(store).neurons("ig", 0.2), 1.0)
    assert str(caught.value) == (
        "share is 1.0; expected a number in [0, 1). At refined neurons. Give a share of a fact's queries."
    )


def test_exported_neurons_come_back_equal(store, tmp_path):
    path = export_neurons(store, tmp_path / "neurons.json")
    found = import_neurons(path, store)
    assert (found["facts"], found["only_here"], found["only_there"]) == (12, 0, 0)
    assert (found["mean"], found["min"], found["exact"]) == (1.0, 1.0, 1.0)
    assert found["neurons"] == json.loads(path.read_text())


def test_a_store_does_not_differ_from_itself(store):
    found = diff(store, store)
    assert found["fingerprint"] == []
    assert {name: one["n_unequal"] for name, one in found["arrays"].items()} == dict.fromkeys(
        found["arrays"], 0
    )
    assert found["sets"]["ig"] == {"mean": 1.0, "min": 1.0, "exact": 1.0}
