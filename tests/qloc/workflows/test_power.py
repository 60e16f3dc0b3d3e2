"""Power by planted studies: what the tests themselves say of them, summed up."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import qloc
from qloc.analysis.inputs.study import Study
from qloc.errors import InputError
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate
from qloc.workflows.power import power, power_text, size_of

SIZE: dict[str, Any] = {"facts": 30, "relations": 6, "templates": 4}


def test_it_is_what_the_tests_say_of_planted_studies():
    """Six relations allow no p below 2⁻⁶: one test can hold, the first of four by Holm cannot."""
    alone, four = (
        power(**SIZE, hypotheses=("H5a", "H10a"), simulations=2, seed=3, tests=tests) for tests in (1, 4)
    )
    assert alone["hypothesis"].tolist() == ["H5a", "H10a"]
    planting: dict[str, Any] = {
        **SIZE,
        "n_layers": 2,
        "n_neurons": 128,
        "n_tokens": 6,
        "n_heads": 0,
        "leaking": 0.0,
    }
    tests = [
        qloc.hypotheses.own_against_control(
            simulate(**planting, seed=seed, effects=Effects(seed=seed)), draws=qloc.Draws(seed=seed)
        )
        for seed in (3, 4)
    ]
    row = alone.iloc[0]
    assert row.planted == pytest.approx(np.mean([test.estimate for test in tests]))
    assert row.power == np.mean([test.verdict == "holds" for test in tests]) == 1
    assert row.power_low == pytest.approx(0.025**0.5)  # Clopper and Pearson, 2 of 2
    assert (row.least_p, row.level, row.margin, row.unit) == (2**-6, 0.05, 0.1, "log-odds")
    assert 0 < row.detectable < row.planted  # 4 of 5 would be found, and both were
    assert (four["power"].iloc[0], bool(four["attainable"].iloc[0])) == (0, False)
    assert four["detectable"].iloc[0] > row.detectable
    assert (
        "H5a cannot be told: a study of this size allows no p below 0.0156, at level 0.0125."
        in power_text(four)
    )


def test_a_store_gives_its_size():
    given: dict[str, Any] = {
        "facts_by_relation": (9, 5, 2),
        "templates": 4,
        "leaking": 0.0,
        "missing": 0.0,
        "pairs": 2,
    }
    study = simulate(**given, seed=1)
    size = size_of(study)
    assert (size["facts_by_relation"], size["templates"], size["missing"]) == ((9, 5, 2), 4, 0.0)
    known = study.column("queries", "known")[study.column("queries", "kind") == "fact"]
    assert size["known"] == pytest.approx(np.mean(known == 1))
    found = power(study, hypotheses=("H1a",), simulations=1)
    assert found["hypothesis"].tolist() == ["H1a"]


def reversed_names(study: Study) -> Study:
    """The same study, the names of its relations in the opposite order."""
    turned = {f"R0{n}": f"R0{9 - n}" for n in range(1, 9)}

    def renamed(group: xr.Dataset) -> xr.Dataset:
        names = [turned[name] for name in group["relation"].values.astype(str)]
        return group.assign(relation=(group["relation"].dims, np.array(names)))

    return replace(
        study, datasets={**study.datasets, **{n: renamed(study.datasets[n]) for n in ("facts", "queries")}}
    )


def test_relations_whose_answers_nobody_shares_stay_such():
    """They come last, as they are planted; the others' answers alone are counted."""
    given: dict[str, Any] = {"templates": 3, "answers_per_relation": 3, "leaking": 0.0, "missing": 0.0}
    study = simulate(facts_by_relation=(20, 14, 9, 12), one_to_one=2, seed=1, **given)
    for of in (study, reversed_names(study)):
        size = size_of(of)
        assert (size["one_to_one"], size["answers_per_relation"]) == (2, 3)
        assert sorted(size["facts_by_relation"][:2]) == [14, 20]
        again = size_of(simulate(**size, leaking=0.0, seed=2))
        assert again["facts_by_relation"] == size["facts_by_relation"]
        assert again["one_to_one"] == 2
    alone = simulate(facts_by_relation=(8, 7, 6), one_to_one=3, seed=1, **given)
    found = power(alone, hypotheses=("H1b",), simulations=2)  # nothing shares an answer: no data can tell
    assert not found["attainable"].iloc[0]
    assert np.isnan(found["least_p"].iloc[0])
    assert size_of(simulate(facts_by_relation=(9, 8), one_to_one=0, seed=1, **given))["one_to_one"] == 0


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(InputError) as raised:
        power(hypotheses=("H4",), simulations=0)
    assert "hypothesis is 'H4'; expected one of H1a, H1b, H3," in str(raised.value)
    assert "simulations is 0; expected a whole number ≥ 1. At power. Correct it." in str(raised.value)
