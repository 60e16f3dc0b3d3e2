"""Neuron sets as JSON: exported from a store, and peers' files compared with it."""

import json

import numpy as np
import pytest

from qloc.canonical_json import canonical
from qloc.errors import FloorError, InputError
from qloc.workflows.analyze import open_study
from qloc.workflows.exchange import export_neurons, import_neurons, refined_of_store


def test_neurons_are_those_in_more_than_a_share_of_a_facts_queries(finished, tmp_path):
    out = export_neurons(finished, tmp_path / "n.json", method="grad_x_act", threshold=0.1, share=0.5)
    got = json.loads(out.read_bytes())
    sets = open_study(finished).neurons("grad_x_act", 0.1)
    fact = sets.queries["fact"]
    for number, name in enumerate(sets.facts["id"]):
        rows = [set(sets.of(q).tolist()) for q in np.flatnonzero(fact == number)]
        if not rows:
            assert name not in got
            continue
        counts = {n: sum(n in row for row in rows) for n in set().union(*rows)}
        expected = sorted(n for n, count in counts.items() if count > 0.5 * len(rows))
        assert got[name] == [[n // 40, n % 40] for n in expected]
    assert any(got.values())
    assert out.read_bytes() == canonical(got) + b"\n"


def test_round_trip_of_neurons(finished, tmp_path):
    out = export_neurons(finished, tmp_path / "n.json")
    found = import_neurons(out, finished)
    assert found["neurons"] == json.loads(out.read_bytes())
    del found["neurons"]
    assert found == {"facts": 8, "only_here": 0, "only_there": 0, "mean": 1.0, "min": 1.0, "exact": 1.0}


def test_peers_neurons_beside_ours(finished, tmp_path):
    sets = refined_of_store(open_study(finished).neurons("ig"), 0.0)
    name = next(name for name, neurons in sets.items() if len(neurons) > 1)
    theirs = {name: sets[name][:1], "unknown uuid": [[0, 1]]}
    (tmp_path / "n.json").write_text(json.dumps(theirs, indent=4))
    found = import_neurons(tmp_path / "n.json", finished, share=0.0)
    assert (found["facts"], found["only_here"], found["only_there"]) == (1, 7, 1)
    assert found["mean"] == found["min"] == 1 / len(sets[name])
    assert found["exact"] == 0


def test_bad_neurons_are_refused_with_every_problem(finished, tmp_path):
    path = tmp_path / "n.json"
    path.write_text(json.dumps({"f0": [[0, 40], [3, 0], [0, 1]], "f1": 7, "f2": [[True, 1]], "f4": [["0"]]}))
    with pytest.raises(InputError) as caught:
        import_neurons(path, finished)
    bounds, same = f"expected [layer < 3, index < 40]. At {path}.", "Take the store of the same model."
    assert caught.value.problems == (
        f"neuron of fact 'f0' (and 1 more) is [0, 40]; {bounds} {same}",
        f"fact 'f1' is 7; expected a list of neurons. At {path}. Export it again.",
        f"neuron of fact 'f2' (and 0 more) is [True, 1]; {bounds} {same}",
        f"neuron of fact 'f4' (and 0 more) is ['0']; {bounds} {same}",
    )
    rule = "JSON of the form {fact id: [[layer, index], …]}"
    for content, got in (("[]", "'list'"), ("{", "'Expecting property name")):
        path.write_text(content)
        with pytest.raises(InputError) as caught:
            import_neurons(path, finished)
        assert str(caught.value).startswith(f"file is {got}")
        assert f"; expected {rule}. At {path}. Export it again." in str(caught.value)


def test_share_and_threshold_out_of_their_domains(finished, tmp_path):
    with pytest.raises(InputError) as caught:
        export_neurons(finished, tmp_path / "n.json", share=1.0)
    assert str(caught.value) == (
        "share is 1.0; expected a number in [0, 1). At refined neurons. Give a share of a fact's queries."
    )
    with pytest.raises(FloorError):
        export_neurons(finished, tmp_path / "n.json", threshold=0.01)
    assert not (tmp_path / "n.json").exists()
