"""Which queries are traced."""

from __future__ import annotations

import numpy as np

from qloc.analysis.tracing.traced_queries import TracedQueries
from qloc.block import Unit
from qloc.phase_plan import TracingPlan
from qloc.simulation.simulate import simulate


def test_known_queries_a_few_of_each_fact_and_facts_of_each_relation() -> None:
    study = simulate(facts=12, relations=2, templates=4, seed=1)
    fact = study.column("queries", "fact")
    known = (study.column("queries", "known") == 1) & (study.column("facts", "leaks")[fact] == 0)
    assert (study.column("facts", "leaks") == 1).any()
    chosen = TracedQueries(study=study, part=TracingPlan(queries=2), seed=3).chosen
    assert known[chosen].all()
    of_fact = np.bincount(fact[chosen], minlength=12)
    np.testing.assert_array_equal(of_fact, np.minimum(np.bincount(fact[known], minlength=12), 2))
    few = TracedQueries(study=study, part=TracingPlan(queries=1, max_facts=2), seed=3)
    relation = study.column("facts", "relation")
    traced = np.unique(fact[few.chosen])
    assert len(traced) == few.chosen.sum() == 4
    assert sorted(np.unique(relation[traced], return_counts=True)[1].tolist()) == [2, 2]
    unit = Unit(number=0, first_fact=3, last_fact=6, first_query=12, last_query=24)
    np.testing.assert_array_equal(few.arms(unit).traced, few.chosen[12:24])


def test_known_pairs_are_traced_unless_a_plan_says_otherwise() -> None:
    study = simulate(facts=12, relations=2, templates=4, pairs=6, seed=1)
    pair, known = (study.column("queries", name) for name in ("kind", "known"))
    both = TracedQueries(study=study, part=TracingPlan(), seed=3).chosen
    assert both[pair == "minimal_pair"].sum() == np.sum((pair == "minimal_pair") & (known == 1)) > 0
    facts = TracedQueries(study=study, part=TracingPlan(pairs=False), seed=3).chosen
    np.testing.assert_array_equal(facts, both & (pair == "fact"))
