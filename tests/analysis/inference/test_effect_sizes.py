"""Effects of interventions and attention against brute force; verdicts on planted outcomes."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from scipy import special, stats

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
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import flip_clusters, log_odds, paired_p, paired_test
from qloc.analysis.inference.resampling import sign_flip_p
from qloc.analysis.inference.shared_answers import crossed_error
from qloc.analysis.inference.slope_test import slope_test
from qloc.analysis.interventions.knowledge_synapses import synapse_effects
from qloc.analysis.interventions.neuron_effects import intervention_effects
from qloc.analysis.interventions.query_kn_mapping import others_of
from qloc.analysis.localization.consistency import consistency
from qloc.errors import InputError
from qloc.phase_plan import EDIT_SETS, NEURON_SETS, SYNAPSE_SETS
from qloc.simulation.interventions import Effects, interventions_of
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

SIZE = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}
FEW = {"n_permutations": 99}


@pytest.fixture(scope="module")
def study():
    return simulate(effects=Effects(), **SIZE, pairs=4, empty=0.05, seed=3)


def test_log_odds_are_those_of_scipy_and_end_where_float32_does():
    p = np.array([1e-9, 0.2, 0.5, 0.99])
    assert log_odds(np.log(p)) == pytest.approx(special.logit(p))
    assert log_odds(np.array([0.0], dtype=np.float32))[0] == pytest.approx(np.log(2.0**24), rel=1e-6)
    assert np.isnan(log_odds(np.array([np.nan]))[0])


def test_one_sided_flips_by_brute_force(rng):
    x, cluster = rng.normal(0.5, 1, 12), np.repeat(np.arange(6), 2)
    sums = [x[cluster == g].sum() for g in range(6)]
    totals = [np.dot(signs, sums) for signs in product([1, -1], repeat=6)]
    p = sign_flip_p(x, cluster, n_permutations=99, rng=rng, alternative="greater")
    assert p == np.mean(np.array(totals) >= sum(sums) - 1e-9)
    many = sign_flip_p(x, np.arange(12), n_permutations=999, rng=rng, alternative="greater")
    below = sign_flip_p(-x, np.arange(12), n_permutations=999, rng=rng, alternative="greater")
    assert many + below == pytest.approx(1, abs=0.06)  # 999 draws


def test_few_relations_are_flipped_by_answers_within_them():
    relation, answer = np.repeat(np.arange(5), 4), np.tile([0, 0, 1, 2], 5)
    flipped, words = flip_clusters(relation, answer)
    assert (len(np.unique(flipped)), "15" in words, "these relations only" in words) == (15, True, True)
    flipped, words = flip_clusters(np.arange(6), np.zeros(6, dtype=int))
    assert (len(np.unique(flipped)), words) == (6, "signs of whole relations flipped (6)")


def test_few_relations_are_those_whose_flips_cannot_reach_the_level():
    """By enumeration: the least p of all flips of G relations, which agree on the sign, against the level."""
    for level in (0.05, 0.05 / 4, 0.05 / 12, 0.01):
        for n in range(2, 11):
            x, relation = np.ones(n), np.arange(n)
            least = sign_flip_p(x, relation, n_permutations=2**10, rng=np.random.default_rng(0))
            words = flip_clusters(relation, relation, level)[1]
            assert ("these relations only" in words) == (least > level), (n, level)


def test_answers_across_relations_count(rng):
    """One answer's effect in every relation: no flip of relations knows that it is one draw."""
    relation, answer = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    x = np.tile([3.0, 3.0, -1.0, -1.0], 8) + 0.01 * rng.normal(size=32)
    alone = sign_flip_p(x, relation, n_permutations=999, rng=rng, alternative="greater")
    p, words = paired_p(x, (relation, answer), n_permutations=999, rng=rng)
    error, freedom = crossed_error(x, relation, answer)
    assert alone < 0.01
    assert p == pytest.approx(stats.t.sf(x.mean() / error, freedom))
    assert freedom == pytest.approx(3)
    assert (p > 0.1, "answers cross relations" in words) == (True, True)
    for same, expected in ((0.0, 1.0), (2.0, 1 / 2**8)):  # without spread: all 2⁸ flips alone tell
        found = paired_p(np.full(32, same), (relation, answer), n_permutations=999, rng=rng)[0]
        assert found == expected


def test_effects_by_brute_force(study):
    found, queries, facts = study.interventions, study.queries, study.facts
    ours = intervention_effects(study).sel(operation="suppress", neuron_set="own").values
    published = intervention_effects(study, measure="probability", known=False)
    published = published.sel(operation="mean", neuron_set="top").values
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
    assert found.interval.low < 3.0 < found.interval.high  # planted: 3 and 0
    assert found.effect.name == "matched rank-biserial"
    assert "queries have an empty set" in " ".join(found.checks)
    gained = own_against_control(study, control="other_fact", operation="enhance", **FEW)
    assert (gained.name, gained.verdict) == ("H5b", "holds")
    assert gained.interval.low < 1.25 < gained.interval.high  # half of 3 less half of 0.5
    assert "gained under enhance" in gained.estimand


def test_no_difference_is_shown_by_equivalence_only(rng):
    clusters = np.repeat(np.arange(8), 10), np.arange(80)
    text = {"name": "T", "question": "?", "estimand": "difference", "draws": Draws(n_permutations=99)}
    small = paired_test(0.05 * rng.normal(size=80), clusters, **text, margin=0.1)
    wide = paired_test(2 * rng.normal(size=80) - 0.3, clusters, **text, margin=0.1)
    assert (small.verdict, wide.verdict) == ("does not hold", "undecided")
    nothing = paired_test(np.full(80, np.nan), clusters, **text)
    assert (nothing.verdict, nothing.p, nothing.n["facts"]) == ("not identified", None, 0)


def test_level_and_power_in_small():
    """Null: all sets move the same but for noise; 40 simulations, at most 7 at 5% (binomial, 1 in 500)."""
    few = {"n_permutations": 99}
    slopes = {"n_bootstrap": 99}
    asked = {
        "H5": partial(own_beyond_reprompt, **few),
        "H5a": partial(own_against_control, **few),
        "H5b": partial(own_against_control, control="other_fact", **few),
        "H5c": partial(query_kn_mapping, **slopes),
        "H6a": partial(dynamic_selection, **few),
        "H6b": partial(dynamic_selection, outcome="answer", **few),
        "H7a": partial(edit_against_matched, operation="erase", **few),
        "H7b": partial(edit_against_matched, **few),
        "H8a": partial(cas_at_equal_budget, **few),
        "H8c": partial(cas_at_equal_damage, **slopes),
        "H10d": partial(predicts_generalization, **slopes),
    }
    names = {*NEURON_SETS, *SYNAPSE_SETS, *EDIT_SETS}
    rejected = dict.fromkeys([*asked, "power"], 0)
    for seed in range(40):
        same = Effects(mean=dict.fromkeys(names, 1.0), seed=seed)
        study = simulate(effects=same, **SIZE, seed=seed)
        for name, test in asked.items():
            found = test(study)
            assert found.name == name
            rejected[name] += found.p <= 0.05
        planted = plant(**SIZE, seed=seed)
        more = replace(same, mean={"own": 3.0, "matched": 1.0})
        arms = interventions_of(planted, more, ("suppress",), ("own", "matched"))
        groups = {**study.datasets, "interventions": arms}
        rejected["power"] += own_against_control(replace(study, datasets=groups), **few).p <= 0.05
    assert rejected.pop("power") >= 36
    assert max(rejected.values()) <= 7, rejected


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
    found = query_kn_mapping(study, n_bootstrap=99)
    assert str(found).startswith("H5c: slope, within relations, on κ over templates other than i and j")
    assert "one-sided (below 0)" in found.method


def test_a_coefficient_on_ones_is_the_mean(rng):
    """And where answers cross relations, p and interval are those of the two-way error, if that is wider."""
    y, relation, answer = rng.normal(1, 1, 60), np.repeat(np.arange(6), 10), np.tile(np.arange(3), 20)
    y += np.array([1.0, 0.0, -1.0])[answer]
    text = {"name": "T", "question": "?", "estimand": "mean", "draws": Draws(n_bootstrap=99)}
    ones = {"intercept": np.ones(60)}
    found = slope_test(y, ones, (relation, answer), **text, inside=False, direction="above")
    error, freedom = crossed_error(y, relation, answer)
    assert found.estimate == pytest.approx(y.mean())
    assert found.p == pytest.approx(stats.t.sf(y.mean() / error, freedom))
    assert found.interval.low == pytest.approx(y.mean() - stats.t.ppf(0.975, freedom) * error)
    one_way = slope_test(y, ones, (relation, np.arange(60)), **text, inside=False)
    assert one_way.interval.high < found.interval.high
    below = slope_test(y, ones, (relation, np.arange(60)), **text, inside=False, direction="below")
    assert below.p == pytest.approx(1 - one_way.p / 2)
    gone = slope_test(y, ones, (np.zeros(60, dtype=int), answer), **text, inside=False)
    assert (gone.verdict, gone.p) == ("not identified", None)


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
