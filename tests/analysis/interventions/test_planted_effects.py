"""Effects of interventions and attention against brute force; verdicts on planted outcomes."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import special

from qloc.analysis.hypotheses import (
    cas_at_equal_budget,
    cas_at_equal_damage,
    dynamic_selection,
    edit_against_matched,
    own_against_control,
    own_beyond_reprompt,
    predicts_generalization,
    query_kn_mapping,
)
from qloc.analysis.interventions.knowledge_synapses import synapse_effects
from qloc.analysis.interventions.neuron_effects import intervention_effects
from qloc.analysis.interventions.query_kn_mapping import others_of
from qloc.analysis.localization.consistency import consistency
from qloc.errors import InputError
from qloc.phase_plan import EDIT_SETS, NEURON_SETS, SYNAPSE_SETS
from qloc.simulation.interventions import Effects, interventions_of
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

SIZE: dict[str, Any] = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}
FEW: dict[str, Any] = {"n_permutations": 99}
SLOPES: dict[str, Any] = {"n_bootstrap": 99}


@pytest.fixture(scope="module")
def study():
    return simulate(effects=Effects(), **SIZE, pairs=4, empty=0.05, seed=3)


def test_effects_by_brute_force(study):
    found, queries, facts = study.interventions, study.queries, study.facts
    ours = intervention_effects(study).sel(operation="suppress", neuron_set="own").values
    probability = intervention_effects(study, measure="probability", known=False)
    published = probability.sel(operation="mean", neuron_set="top").values
    after = found["log_probability"].sel(operation="suppress", neuron_set="own").values.astype(float)
    top = found["log_probability"].sel(operation="mean", neuron_set="top").values.astype(float)
    before = found["base_log_probability"].values.astype(float)
    for fact in range(facts.sizes["fact"]):
        own, ratios = [], []
        for query in np.flatnonzero(queries["fact"].values == fact):
            if facts["leaks"].values[fact] or queries["kind"].values[query] == "minimal_pair":
                continue
            if np.isnan(after[query]):
                continue
            p, q = np.exp(before[query]), np.exp(after[query])
            ratios.append((np.exp(top[query]) - p) / p)
            if queries["known"].values[query]:
                own.append(np.log(q / (1 - q)) - np.log(p / (1 - p)))
        assert ours[fact] == pytest.approx(np.mean(own) if own else np.nan, rel=1e-6, nan_ok=True)
        assert published[fact] == pytest.approx(np.mean(ratios) if ratios else np.nan, rel=1e-6, nan_ok=True)


def test_own_sets_matter_more_than_controls_where_that_is_planted(study):
    found = own_against_control(study, **FEW)
    assert (found.name, found.verdict, found.unit) == ("H5a", "holds", "fact")
    assert found.interval is not None
    assert found.effect is not None
    assert found.interval.low < 3.0 < found.interval.high  # planted: 3 and 0
    assert found.effect.name == "matched rank-biserial"
    assert "queries have an empty set" in " ".join(found.checks)
    gained = own_against_control(study, control="other_fact", operation="enhance", **FEW)
    assert (gained.name, gained.verdict) == ("H5b", "holds")
    assert gained.interval is not None
    assert gained.interval.low < 1.25 < gained.interval.high  # half of 3 less half of 0.5
    assert "gained under enhance" in gained.estimand


def test_level_and_power_in_small():
    """Null: all sets move the same but for noise; 25 simulations, at most 5 at 5% (binomial, 1 in 800)."""
    tests: dict[str, Any] = {
        "H5": partial(own_beyond_reprompt, **FEW),
        "H5a": partial(own_against_control, **FEW),
        "H5b": partial(own_against_control, control="other_fact", **FEW),
        "H5c": partial(query_kn_mapping, **SLOPES),
        "H6a": partial(dynamic_selection, **FEW),
        "H6b": partial(dynamic_selection, outcome="answer", **FEW),
        "H7a": partial(edit_against_matched, operation="erase", **FEW),
        "H7b": partial(edit_against_matched, **FEW),
        "H8a": partial(cas_at_equal_budget, **FEW),
        "H8c": partial(cas_at_equal_damage, **SLOPES),
        "H10d": partial(predicts_generalization, **SLOPES),
    }
    names = {*NEURON_SETS, *SYNAPSE_SETS, *EDIT_SETS}
    rejected = dict.fromkeys([*tests, "power"], 0)
    for seed in range(25):
        same = Effects(mean=dict.fromkeys(names, 1.0), seed=seed)
        study = simulate(effects=same, **SIZE, seed=seed)
        for name, test in tests.items():
            found = test(study)
            assert found.name == name
            assert found.p is not None
            rejected[name] += found.p <= 0.05
        planted = plant(**SIZE, seed=seed)
        more = replace(same, mean={"own": 3.0, "matched": 1.0})
        arms = interventions_of(planted, more, ("suppress",), ("own", "matched"))
        groups = {**study.datasets, "interventions": arms}
        power = own_against_control(replace(study, datasets=groups), **FEW).p
        assert power is not None
        rejected["power"] += power <= 0.05
    assert rejected.pop("power") >= 23
    assert max(rejected.values()) <= 5, rejected


def test_consistency_by_other_templates_by_leaving_them_out(study):
    sets, neighbor = study.neurons(), study.interventions["neighbor"].values
    other, base = others_of(study), consistency(sets)
    d0 = dict(zip(base["relation"].values, base["D0"].values, strict=True))
    fact = sets.queries["fact"]
    for query in range(0, sets.n_queries, 7):
        rest = (fact == fact[query]) & sets.queries["known"] & (sets.sizes() > 0)
        rest[[query, neighbor[query] if neighbor[query] >= 0 else query]] = False
        left = consistency(
            replace(sets, facts={**sets.facts, "leaks": np.zeros(sets.n_facts, bool)}).select(rest)
        )
        chance = d0[sets.facts["relation"][fact[query]]]
        kappa = (left["D"].values[fact[query]] - chance) / (1 - chance)
        assert other.n[query] == rest.sum()
        assert other.kappa[query] == pytest.approx(kappa, nan_ok=True)
        assert other.cs2[query] == pytest.approx(left["CS2"].values[fact[query]], nan_ok=True)


def test_mapping_prints_as_a_sentence(study):
    found = query_kn_mapping(study, **SLOPES)
    assert str(found).startswith("H5c: slope, within relations, on κ over templates other than i and j")
    assert "one-sided (below 0)" in found.method


def test_synapses_are_compared_at_equal_mass_only(study):
    mass = study.synapses["removed_mass"].sel(synapse_set=["knowledge", "random_columns"]).values
    known = study.neurons().known().queries["kind"] == "fact"
    used = (study.queries["known"].values == 1) & (study.queries["kind"].values == "fact")
    used &= study.facts["leaks"].values[study.queries["fact"].values] == 0
    assert used.sum() == known.sum()
    unequal = used & (np.abs(mass[1] / mass[0] - 1) > 0.1)
    found = dynamic_selection(study, outcome="answer", **FEW)
    assert found.checks[1].startswith(f"{unequal.sum()} of {used.sum()} queries have no random columns")
    x = study.synapses["log_probability"].sel(synapse_operation="suppress")
    x = x.sel(synapse_set=["knowledge", "random_columns"]).values.astype(float)
    x = special.logit(np.exp(x[1])) - special.logit(np.exp(x[0]))
    x = np.where(used & ~unequal, x, np.nan)
    fact = study.queries["fact"].values
    by_fact = [np.nanmean(x[fact == f]) for f in np.unique(fact) if not np.isnan(x[fact == f]).all()]
    assert found.estimate == pytest.approx(np.mean(by_fact), rel=1e-5)  # float32 log-probabilities
    assert (found.name, found.verdict) == ("H6b", "holds")
    moved = dynamic_selection(study, **FEW)
    assert (moved.name, moved.verdict) == ("H6a", "holds")
    assert moved.interval is not None
    assert moved.interval.low < 0.2 < moved.interval.high  # planted: a tenth of 3 less 1
    effects = synapse_effects(study, outcome="activation").sel(synapse_operation="suppress")
    assert float(effects.sel(synapse_set="knowledge").mean()) == pytest.approx(-0.3, abs=0.1)


def test_what_a_store_lacks_is_named():
    plain = simulate(**SIZE, seed=1)
    with pytest.raises(InputError) as raised:
        own_against_control(plain)
    assert "expected a store with group /interventions" in str(raised.value)
    with pytest.raises(InputError, match="group /synapses"):
        dynamic_selection(plain)
    full = simulate(effects=Effects(), **SIZE, seed=1)
    fewer = full.interventions.sel(neuron_set=["own", "union"])
    less = replace(full, datasets={**full.datasets, "interventions": fewer})
    with pytest.raises(InputError, match="expected arms own and matched under suppress"):
        own_against_control(less)
