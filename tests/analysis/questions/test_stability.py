"""Reliability by relation, and the distribution of consistency over facts."""

import numpy as np
import pytest

from qloc.analysis.localization.consistency import relation_codes
from qloc.analysis.localization.reliability import halves_of, reliability, spearman_brown
from qloc.analysis.questions.context import ALL_RELATIONS, AnalysisContext
from qloc.analysis.questions.stability import reliability_by_relation, stability_question
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def deep(plan):
    """Many facts of one relation, answer and number of queries."""
    study = simulate(facts=60, relations=2, templates=6, answers_per_relation=2, n_neurons=64, n_heads=0,
                     one_to_one=0, known=0.95, missing=0.03, fact_spread=1.0, seed=5)  # fmt: skip
    return AnalysisContext(study, plan.model_copy(update={"n_splits": 5}))


@pytest.fixture(scope="module")
def question(deep):
    return stability_question(deep)


def test_tests_are_h3_and_h4(deep, question):
    stable, kinds = question.tests
    assert (stable.name, kinds.name, kinds.verdict) == ("H3", "H4", "descriptive")
    halves = halves_of(deep.used, n_splits=5, seed=0)
    assert stable.estimate == pytest.approx(spearman_brown(reliability(halves)[0]))
    assert f"reliability of κ is estimated at {stable.estimate:.2f}" in question.answer


def test_reliability_of_a_relation_is_that_of_its_facts_alone(deep, question, frame):
    halves = halves_of(deep.used, n_splits=5, seed=0)
    table = reliability_by_relation(deep.used, halves, 0.95)
    assert table.equals(frame(question, "reliability_by_relation"))
    table = table.set_index("relation")
    names, code = relation_codes(deep.used)
    assert table.facts[ALL_RELATIONS] == len(halves.facts)
    for number, name in enumerate(names):
        here = code[halves.facts] == number
        x, y = halves.first[:, here], halves.second[:, here]
        # Σ c_f over half the mean squares of both, lengthened by Spearman and Brown.
        x, y = (values - _stratum_means(values, halves.stratum[here]) for values in (x, y))
        c, v = (x * y).mean(axis=0), (x**2 + y**2).mean(axis=0) / 2
        assert table.reliability[name] == pytest.approx(spearman_brown(c.sum() / v.sum()))
        assert table.facts[name] == here.sum()


def _stratum_means(values, stratum):
    means = np.empty_like(values)
    for number in np.unique(stratum):
        here = stratum == number
        means[:, here] = values[:, here].mean(axis=1, keepdims=True)
    return means


def test_the_distribution_holds_all_but_a_thousandth_a_cell(question, frame):
    table = frame(question, "tilt_distribution")
    assert (np.diff(table.theta) > 0).all()
    assert 0.95 < table.share.sum() <= 1 + 1e-9


def test_too_few_queries_are_said(plan):
    few = stability_question(AnalysisContext(simulate(facts=6, relations=1, templates=2, seed=1), plan))
    assert few.answer.startswith("No two facts ")
    assert few.tests[0].verdict == "not identified"
    table = few.table("reliability_by_relation")
    assert table is not None
    assert len(table.to_frame()) == 0
