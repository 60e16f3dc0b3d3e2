"""Effects of changed attention, and knowledge synapses against controls of equal removed mass."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import special

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.knowledge_synapses import (
    AttentionOutcomes,
    dynamic_selection,
    synapse_effects,
)
from qloc.errors import InputError
from qloc.simulation.simulate import simulate

FEW: dict[str, Any] = {"draws": Draws(n_permutations=99)}


@pytest.fixture(scope="module")
def study(changed_study: Study) -> Study:
    return changed_study


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


def test_activation_is_that_of_knowledge_neurons_less_matched_ones(study):
    group = study.synapses.sel(synapse_operation="enhance", synapse_set="other_heads")
    expected = group["activation_effect"].values.astype(float) - group["matched_effect"].values
    np.testing.assert_allclose(
        AttentionOutcomes.of(study).activation("enhance", "other_heads"), expected, rtol=1e-12
    )


def test_a_control_is_equal_within_a_tenth(study):
    mass = study.synapses["removed_mass"].copy(deep=True)
    attended = AttentionOutcomes.of(study)
    knowledge, control = (attended.arms.index(name) for name in ("knowledge", "random_columns"))
    values = mass.values.copy()
    values[knowledge, :5] = [1.0, 1.0, 1.0, 0.0, np.nan]
    values[control, :5] = [1.0625, 0.9375, 1.125, 0.0, 1.0]
    group = study.synapses.assign(removed_mass=(mass.dims, values))
    changed = AttentionOutcomes.of(replace(study, datasets={**study.datasets, "synapses": group}))
    assert changed.equal_mass("random_columns")[:5].tolist() == [True, True, False, False, False]


def test_the_sign_is_that_of_what_is_lost_or_gained(study):
    attended = AttentionOutcomes.of(study)
    for operation, sign in (("suppress", -1), ("enhance", 1)):
        difference = attended.activation(operation, "knowledge") - attended.activation(
            operation, "other_heads"
        )
        expected = np.where(attended.equal_mass("other_heads"), sign * difference, np.nan)
        np.testing.assert_array_equal(attended.against(operation, "other_heads", "activation"), expected)


def test_effects_on_the_answer_are_means_over_known_queries(study):
    effects = synapse_effects(study, outcome="logit").sel(
        synapse_operation="suppress", synapse_set="published"
    )
    after = (
        study.synapses["logit"]
        .sel(synapse_operation="suppress", synapse_set="published")
        .values.astype(float)
    )
    change = after - study.interventions["base_logit"].values
    for fact in range(0, study.facts.sizes["fact"], 5):
        here = (study.queries["fact"].values == fact) & (study.queries["known"].values == 1)
        counts = (
            study.facts["leaks"].values[fact] == 0 and (study.queries["kind"].values[here] == "fact").all()
        )
        values = change[here & ~np.isnan(change)]
        expected = values.mean() if counts and len(values) else np.nan
        assert float(effects.values[fact]) == pytest.approx(expected, nan_ok=True)


def test_what_a_store_lacks_is_named(study):
    with pytest.raises(InputError) as raised:
        dynamic_selection(simulate(facts=4, relations=1, templates=3, seed=1))
    assert (
        "expected a store with group /synapses. At synapses. Extract it with --phases signals,interventions."
        in str(raised.value)
    )
    fewer = study.synapses.sel(synapse_set=["published", "knowledge"])
    with pytest.raises(InputError) as raised:
        dynamic_selection(replace(study, datasets={**study.datasets, "synapses": fewer}))
    assert str(raised.value) == (
        "synapse sets is 'published, knowledge'; expected sets knowledge and random_columns under suppress. "
        "At synapses. Extract these sets."
    )
