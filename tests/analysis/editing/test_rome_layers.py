"""H12c: planted gains of ROME at another layer are found; the same layer is no comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc import hypotheses
from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.editing.rome_layers import layers_compared
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.errors import InputError
from qloc.phase_plan import ROME_TRACED
from qloc.simulation.edits import planted_edits
from qloc.simulation.interventions import Effects
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

DRAWS = Draws(n_permutations=99)
SIZE: dict[str, Any] = {
    "facts": 80,
    "relations": 8,
    "templates": 4,
    "n_neurons": 16,
    "one_to_one": 0,
    "seed": 7,
}


@pytest.fixture(scope="module")
def study() -> Study:
    """Give a study whose ROME moves 9 log-odds, and 11 at the layer that tracing names."""
    effects = Effects(mean={"rome": 9.0, ROME_TRACED: 11.0}, relation=0.1)
    edits = planted_edits(plant(**SIZE), effects, operations=("update",), sets=("rome", ROME_TRACED))
    made = simulate(**SIZE)
    return replace(made, datasets={**made.datasets, "edits": edits.assign_attrs(traced_layer=2)})


def test_what_is_planted_is_found_and_told_of_both(study: Study) -> None:
    found = hypotheses.rome_at_traced_layer(study, draws=DRAWS)
    edited = EditOutcomes.of(study)
    own, traced = (edited.moved("update", name, "held_out") for name in ("rome", ROME_TRACED))
    assert (found.name, found.verdict) == ("H12c", "holds")
    assert found.estimate == pytest.approx(np.nanmean(traced - own))
    assert found.estimate > 1.0
    (told,) = [check for check in found.checks if check.startswith("Tracing names layer 2. ")]
    assert "Δ nats a token" in told


def test_the_same_layer_is_not_identified(study: Study) -> None:
    edits = study.edits.load()
    same = edits.sel(edit_set=["rome", "rome"]).assign_coords(edit_set=["rome", ROME_TRACED])
    alike = EditOutcomes.of(replace(study, datasets={**study.datasets, "edits": same}))
    found = layers_compared(alike, DRAWS)
    assert (found.verdict, found.p) == ("not identified", None)
    assert "Tracing names layer 2, which ROME edits anyway." in found.checks


def test_a_layer_that_tracing_does_not_name_is_told(study: Study) -> None:
    edits = study.edits.load().assign_attrs(traced_layer=-1)
    none = EditOutcomes.of(replace(study, datasets={**study.datasets, "edits": edits}))
    told = layers_compared(none, DRAWS).checks
    assert any(check.startswith("Tracing names no layer") for check in told)


def test_without_such_edits_it_is_refused(study: Study) -> None:
    edits = study.edits.load().sel(edit_set=["rome"])
    alone = replace(study, datasets={**study.datasets, "edits": edits})
    with pytest.raises(InputError, match="expected sets rome_traced and rome under update"):
        hypotheses.rome_at_traced_layer(alone, draws=DRAWS)


def test_nothing_to_compare_is_not_the_same_layer(study: Study) -> None:
    edits = study.edits.load()
    held = edits["held_out"]
    none = edits.assign(held_out=held.where(held < 1, 0))
    found = layers_compared(
        EditOutcomes.of(replace(study, datasets={**study.datasets, "edits": none})), DRAWS
    )
    assert (found.verdict, found.n) == ("not identified", {"relations": 0, "facts": 0})
    told = "Tracing names layer 2. No fact has both edits and a held-out paraphrase that counts."
    assert told in found.checks
