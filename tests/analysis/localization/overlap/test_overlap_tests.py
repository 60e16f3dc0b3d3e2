"""H1a and H1b: planted truth is found, one-to-one relations are not identified, and results say who was left out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.resampling import permutation_p
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.localization.consistency import answer_codes, considered, filled, relation_codes
from qloc.analysis.localization.overlap.excess import excesses
from qloc.analysis.localization.overlap.margins import net_excess, net_p
from qloc.analysis.localization.overlap.overlap_tests import (
    beyond_answer,
    beyond_template,
    overlap_tests,
    result_of,
)
from qloc.analysis.localization.overlap.query_pairs import LEVELS
from qloc.neurons import NeuronSets
from qloc.simulation.planted import plant
from qloc.text.rounding import p_value

DRAWS = Draws(n_permutations=99)


def test_one_to_one_relations_are_not_identified_and_said_so():
    sets = plant(
        facts=60, relations=3, templates=4, one_to_one=1, answers_per_relation=2, leaking=0, seed=8
    ).sets()
    result = beyond_answer(sets, draws=DRAWS)
    assert result.n["relations"] == 2
    assert "Relations without any such fact (one-to-one: not identified): R03." in result.checks
    alone = plant(facts=20, relations=1, one_to_one=1, seed=8).sets()
    nothing = beyond_answer(alone, draws=DRAWS)
    assert nothing.verdict == "not identified"
    assert nothing.p is None
    assert np.isnan(nothing.estimate)
    assert beyond_template(alone, draws=DRAWS).verdict == "holds"


NOTHING = {"undecided", "no relevant difference"}


@pytest.mark.parametrize(
    ("planting", "a", "b"),
    [
        ({"answer_strength": 0.0, "fact_strength": 0.0}, NOTHING, NOTHING),
        ({"answer_strength": 0.4, "fact_strength": 0.0}, {"holds"}, NOTHING),
        ({"answer_strength": 0.4, "fact_strength": 0.3}, {"holds"}, {"holds"}),
    ],
)
def test_what_is_planted_is_found_and_nothing_else(planting, a, b):
    sets = plant(facts=200, relations=8, templates=4, n_neurons=128, seed=11, **planting).sets()
    for result, verdict in zip(overlap_tests(sets, draws=Draws(n_permutations=199)), (a, b), strict=True):
        assert result.verdict in verdict, result.name


def test_more_fact_neurons_more_excess():
    results = [
        beyond_answer(plant(facts=200, relations=8, fact_strength=s, seed=12).sets(), draws=DRAWS)
        for s in (0.0, 0.2, 0.5)
    ]
    estimates = [result.estimate for result in results]
    assert estimates[0] < estimates[1] < estimates[2]
    assert results[2].effect is not None
    assert results[2].effect.value > 0.5
    assert results[2].interval is not None
    assert results[2].interval.low < estimates[2] < results[2].interval.high


def test_same_seed_same_result(planted):
    first, second, other = (
        beyond_template(planted, draws=Draws(n_permutations=99, seed=s)) for s in (1, 1, 2)
    )
    assert first == second
    assert first.estimate == other.estimate


def test_results_are_those_of_the_overlaps(planted):
    used, draws = filled(considered(planted)), Draws(n_permutations=19, seed=4, alpha=0.2)
    by_level = excesses(used, n_permutations=19, seed=4)
    results = overlap_tests(planted, draws=draws, store="print")
    for result, level in zip(results, LEVELS, strict=True):
        excess = by_level[level]
        assert result == result_of(used, excess, draws, "print")
        net = net_excess(used, level)
        assert result.estimate == pytest.approx(np.nanmean(net))
        of_study = net_excess(used, level, hubs_of_relations=False)
        assert result.p == net_p(used, net, level)[0]
        assert result.p_opposite == max(net_p(used, one, level)[1] for one in (net, of_study))
        clusters = (relation_codes(used)[1], answer_codes(used))
        assert result.interval == skewed_interval(net, clusters)
        exchanged = p_value(permutation_p(excess.estimate, excess.permuted))
        assert any(check.endswith(f"make small, too: {exchanged}.") for check in result.checks)
        assert (result.alpha, result.seed, result.store) == (0.2, 4, "print")
        assert result.target == "for these relations and templates"
        assert any(check.startswith("Means of the ") for check in result.checks)
    assert [result.name for result in results] == ["H1a", "H1b"]
    assert results[1].method.startswith("t-test over facts, t(")
    for result, least in zip(results, ("0.0012", "0.0007"), strict=True):
        assert result.method.endswith(f"of more than {least}, one-sided")


def test_estimate_interval_and_p_are_of_the_same_facts():
    """Relation R07 has one subject: its facts have the same prompts, and nobody to be compared with."""
    sets = plant(facts=160, relations=8, templates=4, fact_strength=0.3, seed=1).sets()
    one = np.where(sets.facts["relation"] == "R07", "one", sets.facts["subject"])
    same = filled(considered(replace(sets, facts={**sets.facts, "subject": one})))
    excess, net = excesses(same, ("template",), n_permutations=0)["template"], net_excess(same, "template")
    np.testing.assert_array_equal(np.isnan(net), np.isnan(excess.excess))
    result = overlap_tests(same, ("template",), draws=DRAWS)[0]
    assert result.n["relations"] == 7
    assert result.interval is not None
    assert result.interval.method.startswith("two-way cluster-robust over 7 and ")
    rest = filled(considered(sets.select(sets.queries["relation"] != "R07")))
    alone = net_excess(rest, "template")  # popularity is of the whole study: nearly the same
    assert result.estimate == pytest.approx(np.nanmean(alone), rel=0.05)


def test_who_is_left_out_is_said(make_sets):
    """Facts 0 and 1 share templates; 2 is alone with u and v; 3 has one query."""
    rows = [(0, "s", "a", [1]), (0, "t", "a", [1]), (1, "s", "b", [2]), (1, "t", "b", [3]), (2, "u", "c", [4]),
            (2, "v", "c", [5]), (3, "s", "d", [6])]  # fmt: skip
    template, answer = overlap_tests(make_sets(rows), draws=DRAWS)
    assert template.n == {"relations": 1, "facts": 2, "queries": 4}
    assert list(template.checks) == [
        "1 of 3 facts with two queries or more have no other fact with the same templates to be compared with: "
        "left out.",
        "1 facts or minimal pairs have one non-empty set only: undefined.",
        "Whatever their sizes and popularity, within-fact overlaps exceed the others by 0.5; p-value of sets permuted within "
        "relation × template, which facts of unlike sizes and hubs make small, too: 0.36.",
        "Not told apart from a fact's own neurons: those of kinds of facts, and neurons that facts use unequally, "
        "beyond the ways that are held: one in the whole study, up to four in each relation.",
        "1 relation: the interval speaks for few clusters.",
        'With the hubs of the whole study held, but not those of each relation, the excess is 0: "the opposite" '
        'and "no relevant difference" need both estimates.',
    ]
    assert answer.checks[:2] == (
        "3 of 3 facts with two queries or more have no other fact with the same answer to be compared with: "
        "left out.",
        "Relations without any such fact (one-to-one: not identified): R.",
    )


def _of_hubs(seed, relations=8, facts=20, templates=4, n_neurons=512, n_hubs=40):
    """Facts draw an unlike share of their neurons from hubs of their relation; none has neurons of its own."""
    rng = np.random.default_rng(seed)
    usual, zipf = rng.dirichlet(np.ones(n_neurons)), 1 / np.arange(1, n_hubs + 1)
    rows = []
    for r in range(relations):
        hubs = rng.choice(n_neurons, n_hubs, replace=False)
        for f in range(facts):
            share = rng.random()
            for t in range(templates):
                of_hubs = rng.random(n_hubs) < np.minimum(1, 8 * share * zipf / zipf.sum())
                others = rng.random(n_neurons) < np.minimum(1, (4 + 8 * (1 - share)) * usual)
                rows.append((r * facts + f, r, f"{r}-{t}", sorted({*hubs[of_hubs], *np.flatnonzero(others)})))
    fact, relation, template, members = zip(*rows, strict=True)
    places = [(row, n) for row, members_ in enumerate(members) for n in members_]
    member = sparse.csr_array((np.ones(len(places), bool), np.array(places).T), shape=(len(rows), n_neurons))
    of_fact = np.repeat(np.arange(relations), facts).astype(str)
    return NeuronSets(
        member=member,
        queries={"fact": np.array(fact), "relation": np.array(relation).astype(str), "template": np.array(template),
                 "known": np.ones(len(rows), bool), "kind": np.full(len(rows), "fact"),
                 "log_probability": np.full(len(rows), -0.5, np.float32)},
        facts={"id": np.arange(len(of_fact)).astype(str), "subject": np.arange(len(of_fact)).astype(str),
               "leaks": np.zeros(len(of_fact), bool), "relation": of_fact,
               "object": np.char.add(of_fact, np.tile(["a", "b", "c", "d", "e"], len(of_fact) // 5))},
        method="ig", rule="drawn", n_layers=1, n_neurons=n_neurons,
    )  # fmt: skip


def test_hubs_of_each_relation_are_not_facts_own():
    """Unequal use of them alone: sets permuted reject always, the test of what is net of it seldom."""
    found = []
    for seed in range(24):
        result = overlap_tests(_of_hubs(seed), ("template",), draws=Draws(n_permutations=99, seed=seed))[0]
        assert any(check.endswith("small, too: 0.01.") for check in result.checks)
        assert result.p is not None
        found.append(result.p <= 0.05)
    assert np.mean(found) < 0.15
