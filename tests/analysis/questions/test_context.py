"""What questions share: sets by method and threshold, floors, clusters, intervals."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.questions.context import AnalysisContext


def test_sets_are_those_of_the_study(context, study, plan):
    for method, threshold in (("ig", 0.2), ("grad_x_act", 0.3), ("ig", 0.17)):  # the last not in the plan
        expected, ours = study.neurons(method, threshold), context.neurons(method, threshold)
        assert (ours.member != expected.member).nnz == 0
        assert ours.rule == expected.rule
        assert context.neurons(method, threshold) is ours
    assert context.sets is context.neurons(plan.method, plan.threshold)


def test_thresholds_below_the_floor_are_apart(study, dense_study, plan):
    asked = plan.model_copy(update={"thresholds": (0.5, 0.01, 0.2), "threshold": 0.3})
    assert AnalysisContext(study, asked).thresholds == ([0.2, 0.3, 0.5], [0.01])
    assert AnalysisContext(study, asked).floor == pytest.approx(0.05)
    assert AnalysisContext(dense_study, asked).thresholds == ([0.01, 0.2, 0.3, 0.5], [])
    assert AnalysisContext(dense_study, asked).floor == 0.0


def test_scores_run_over_known_queries_of_facts_that_do_not_leak(context):
    queries, leaks = context.sets.queries, context.sets.facts["leaks"]
    clean = ~leaks[queries["fact"]] & (queries["kind"] == "fact")
    assert 0 < context.pairs.n_queries < context.sets.n_queries
    assert context.known.n_queries == np.sum(clean & queries["known"])
    assert context.used.n_queries == np.sum(context.known.sizes() > 0)
    assert context.considered() is context.known
    assert context.considered(known=False).n_queries == np.sum(clean)
    every = np.bincount(context.used.queries["fact"], minlength=context.sets.n_facts)
    np.testing.assert_array_equal(context.scores["k"].values, every)


def test_every_query_counts_where_the_plan_says_so(context, study, plan):
    every = AnalysisContext(study, plan.model_copy(update={"queries": "all"}))
    clean = ~context.sets.facts["leaks"][context.sets.queries["fact"]] & (
        context.sets.queries["kind"] == "fact"
    )
    assert context.known.n_queries < every.known.n_queries == np.sum(clean)
    assert every.scores.equals(every.scores_all)
    assert every.scores_strict is None
    assert bool(every.study.queries["known"].values.all())
    assert not study.every_query


def test_kinds_come_from_queries_where_facts_do_not_say(context, study):
    assert (context.kind_of_fact == "minimal_pair").sum() == 6
    facts = study.facts.drop_vars("kind", errors="ignore")
    older = AnalysisContext(replace(study, datasets={**study.datasets, "facts": facts}), context.plan)
    assert older.kind_of_fact.tolist() == context.kind_of_fact.tolist()


def test_intervals_are_column_by_column(context, rng):
    values = rng.normal(size=(context.sets.n_facts, 3))
    values[::3, 1] = np.nan
    low, high = context.intervals(values)
    for column in range(3):
        ends = skewed_interval(values[:, column], context.clusters, confidence=0.95)
        assert ends is not None
        assert (low[column], high[column]) == pytest.approx((ends.low, ends.high))
    by_answer = context.intervals(values, context.clusters[1:])
    ends = skewed_interval(values[:, 0], context.clusters[1:], confidence=0.95)
    assert ends is not None
    assert by_answer[0][0] == pytest.approx(ends.low)


def test_draws_are_the_plans(study, plan):
    draws = AnalysisContext(study, plan.model_copy(update={"seed": 5, "alpha": 0.01})).draws
    assert (draws.n_permutations, draws.n_bootstrap, draws.seed, draws.alpha) == (99, 99, 5, 0.01)
