"""The question on syntax: facts, features and paradigms side by side, and shares of good over bad."""

import numpy as np
import pytest

from qloc.analysis.analyze import questions_of
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.syntax import LAYER_GROUPS, syntax_question
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def asked(grouped_context):
    return grouped_context


def test_facts_features_and_paradigms_stand_side_by_side(asked, frame):
    question = syntax_question(asked)
    table = frame(question, "syntax_localization").set_index("of")
    assert list(table.index) == ["facts", "features (all paradigms)", "R07", "R08"]
    pair = asked.kind_of_fact == "minimal_pair"
    kappa = np.where(pair, asked.scores_of_pairs["kappa"].values, asked.scores["kappa"].values)
    for name, here in (("facts", ~pair), ("features (all paradigms)", pair)):
        assert table.loc[name, "kappa"] == pytest.approx(np.nanmean(kappa[here]))
        assert table.loc[name, "kappa_low"] <= table.loc[name, "kappa"] <= table.loc[name, "kappa_high"]
    assert [test.name for test in question.tests] == ["H11a", "H11b", "H11c"]
    assert question.answer.startswith("κ is ")


def test_good_over_bad_is_counted_by_paradigm(asked, frame):
    table = frame(syntax_question(asked), "good_over_bad").set_index("paradigm")
    queries = asked.pairs.queries
    for name in ("R07", "R08"):
        here = queries["known"][queries["relation"] == name]
        assert (table.loc[name, "pairs"], table.loc[name, "share"]) == (len(here), here.mean())
        assert table.loc[name, "low"] < here.mean() < table.loc[name, "high"]


def test_thirds_of_the_layers_hold_everything(asked, frame):
    table = frame(syntax_question(asked), "syntax_layer_groups")
    assert tuple(table.layers) == LAYER_GROUPS
    assert (table.facts.sum(), table.syntax.sum()) == pytest.approx((1, 1))
    assert (table.p_adjusted >= table.p).all()


def test_it_is_asked_where_there_are_pairs(asked, plan):
    assert syntax_question in questions_of(asked)
    plain = simulate(facts=8, relations=2, templates=3, pairs=4, seed=1)  # single pairs have no scores
    assert syntax_question not in questions_of(AnalysisContext(plain, plan))
    named = plan.model_copy(update={"confirmatory": ("H11a",)})
    assert syntax_question in questions_of(AnalysisContext(plain, named))
    assert "κ is " in syntax_question(AnalysisContext(plain, named)).answer
