"""What paraphrases share: parts that add up, and the tests of the hypotheses."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qloc.analysis import hypotheses
from qloc.analysis.inference.draws import Draws
from qloc.analysis.questions.context import ALL_RELATIONS, AnalysisContext
from qloc.analysis.questions.overlap import _answer, overlap_question
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def question(context):
    return overlap_question(context)


def test_decomposition_adds_up_to_the_within_fact_overlap(question, frame):
    parts = frame(question, "overlap_decomposition").set_index(["relation", "part"]).overlap
    assert list(parts["All relations"].index) == ["template", "answer", "fact"]
    assert 0 < parts["All relations"].sum() < 1
    assert "R04" not in parts.index.get_level_values(0)  # one-to-one
    share = frame(question, "overlap_by_relation").set_index("relation")
    whole = parts["All relations"]
    assert share.answer_share["All relations"] == pytest.approx(
        whole["answer"] / (whole["answer"] + whole["fact"])
    )
    assert np.isnan(share.answer_share["R04"])
    assert share.beyond_template["R04"] > 0


def test_tests_are_those_of_the_hypotheses(context, question, frame):
    draws = Draws(n_permutations=99, n_bootstrap=99)
    expected = hypotheses.overlap_tests(context.sets, draws=draws, store=context.study.fingerprint)
    assert question.tests == expected
    assert [test.name for test in question.tests] == ["H1a", "H1b"]
    beyond = frame(question, "overlap_by_relation").set_index("relation")
    assert beyond.beyond_template[ALL_RELATIONS] == pytest.approx(question.tests[0].estimate)
    parts = frame(question, "overlap_decomposition").set_index(["relation", "part"]).overlap
    assert parts[ALL_RELATIONS, "fact"] == pytest.approx(question.tests[1].estimate)


def test_relations_make_up_the_whole(question, frame):
    """Means over facts: of relations, weighted by their facts, and of all."""
    table = frame(question, "overlap_by_relation").set_index("relation")
    each = table.drop(ALL_RELATIONS)
    assert (each.beyond_template * each.facts).sum() / each.facts.sum() == pytest.approx(
        table.beyond_template[ALL_RELATIONS]
    )
    assert each.facts_identified.sum() == table.facts_identified[ALL_RELATIONS]


@pytest.mark.parametrize(
    ("planting", "answer"),
    [
        (
            {"one_to_one": 2},
            "No facts share an answer, so what is the answer's and what the fact's is not identified.",
        ),
        (
            {"templates": 1},
            "No two facts were asked with the same two templates: there is nothing to compare ",
        ),
    ],
)
def test_what_cannot_be_told_is_said(plan, planting, answer):
    size = {"facts": 12, "relations": 2, "templates": 3, "n_neurons": 32, "seed": 1}
    question = overlap_question(AnalysisContext(simulate(**{**size, **planting}), plan))
    assert question.answer.startswith(answer)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([0, 1, 2], "No fact has two known queries with knowledge neurons: there is nothing to compare."),
        ([], "No fact has two known queries with knowledge neurons: there is nothing to compare."),
        ([0, 0, 1], "No two facts were asked with the same two templates: there is nothing to compare with."),
    ],
)
def test_the_reason_why_nothing_is_compared_is_the_true_one(facts, expected):
    used: Any = SimpleNamespace(queries={"fact": np.array(facts, dtype=np.int64)})
    assert _answer(np.full((3, 3), np.nan), np.full(3, np.nan), used) == expected
