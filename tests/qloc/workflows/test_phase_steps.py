"""What phases are chosen with: users' own sets by neuron number, and sums over other facts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qloc.arms import RelationSums
from qloc.errors import InputError
from qloc.neuron_set_files import OwnSets
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate
from qloc.workflows import phase_steps


def test_own_sets_that_do_not_fit_are_refused_at_once() -> None:
    study = simulate(facts=6, relations=2, templates=3, seed=1)
    n = study.signals.attrs["n_neurons"]
    own: OwnSets = {"a": {"F00001": ((0, n),), "nobody": ()}, "b": {"": ((99, 0), (1, 2))}}
    with pytest.raises(InputError) as caught:
        phase_steps._numbered(own, study, "sets.json")
    layers = study.signals.sizes["layer"]
    assert caught.value.problems == (
        "fact is 'nobody'; expected the id of a fact of the study, or empty for all. At sets.json. "
        "Mend set 'a'.",
        f"neuron is [0, {n}]; expected [layer < {layers}, index < {n}]. At sets.json. Mend set 'a'.",
        f"neuron is [99, 0]; expected [layer < {layers}, index < {n}]. At sets.json. Mend set 'b'.",
    )
    numbered = phase_steps._numbered({"a": {"F00001": ((1, 2), (0, 3))}}, study, "sets.json")
    assert numbered["a"]["F00001"].tolist() == [n + 2, 3]


def test_the_layer_that_tracing_names_is_asked_for_where_an_edit_needs_it() -> None:
    planting: dict[str, Any] = {"facts": 12, "relations": 2, "templates": 3, "seed": 1}
    bare = simulate(**planting)
    traced = simulate(**planting, effects=Effects(), phases=("tracing",))
    assert phase_steps._traced_layer(bare, ("own", "rome")) == -1
    assert phase_steps._traced_layer(traced, ("rome_traced",)) == traced.signals.sizes["layer"] - 1
    with pytest.raises(InputError, match=r"^phase tracing is 'missing'; expected all of its units"):
        phase_steps._traced_layer(bare, ("rome_traced",))


def test_means_over_other_facts_come_from_the_statistics() -> None:
    study = simulate(facts=12, relations=2, templates=3, tier="dense", seed=1)
    sums = phase_steps.relation_sums(study)
    assert isinstance(sums, RelationSums)
    relation = str(study.facts["relation"].values[0])
    rows = study.signals["activation"].values[study.queries["relation"].values == relation]
    assert sums.n_queries[relation] == len(rows)
    # Kept in float32: half a unit in the last place.
    np.testing.assert_allclose(
        sums.activation_sum(relation), rows.sum(0, dtype=float), rtol=2.0**-23, atol=1e-12
    )
    bare = type(study)({k: v for k, v in study.datasets.items() if k != "statistics"}, study.attrs)
    assert phase_steps.relation_sums(bare) is None
    assert bare.statistics.sizes == {}
