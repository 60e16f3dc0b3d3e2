"""What paraphrases share: parts that add up, and the tests of the hypotheses."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qloc.analysis import hypotheses
from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.consistency import considered, filled, relation_codes
from qloc.analysis.localization.overlap import bayes_components
from qloc.analysis.localization.overlap.excess import excesses
from qloc.analysis.questions.context import ALL_RELATIONS, AnalysisContext
from qloc.analysis.questions.overlap import _answer, _component_tables, _parts, answer_share, overlap_question
from qloc.plan import AnalysisPlan
from qloc.simulation.planted import plant
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


def test_components_of_variance_add_up(question, frame):
    table = frame(question, "overlap_components").set_index("part")
    assert list(table.index) == ["template", "answer", "template × answer", "fact", "query"]
    assert table.share.sum() == pytest.approx(1)
    assert (table.relations == 3).all()  # the fourth is one-to-one
    assert table.low.isna().all()  # three relations are too few for an interval


def test_components_that_cannot_be_told_say_why():
    given: dict[str, Any] = {
        "facts": 30,
        "relations": 3,
        "templates": 3,
        "n_neurons": 16,
        "seed": 1,
        "n_heads": 0,
    }
    for planting in ({"one_to_one": 3}, {"templates": 1}):
        (table,) = _component_tables(AnalysisContext(simulate(**{**given, **planting}), AnalysisPlan()))
        assert not table.columns["part"]
        assert table.note.endswith("Here there is no other relation.")


def test_a_plan_may_ask_for_components_by_bayes(context, monkeypatch):
    pytest.importorskip("numpyro")
    monkeypatch.setattr(bayes_components, "_WARMUP", 100)
    monkeypatch.setattr(bayes_components, "_DRAWS", 100)
    asked = AnalysisContext(context.study, AnalysisPlan(bayes=True))
    by_reml, table = _component_tables(asked)
    assert (by_reml.name, table.name) == ("overlap_components", "overlap_components_bayes")
    assert len(table.columns["part"]) == 5 * 3
    assert set(table.columns["prior"]) == {"usual (2, 1)", "narrow (1, 0.5)", "wide (3, 2)"}
    assert all(0 < low < share < high < 1 for low, share, high in zip(
        *(table.columns[name] for name in ("low", "share", "high")), strict=True))  # fmt: skip


def test_tests_are_those_of_the_hypotheses(context, question, frame):
    draws = Draws(n_permutations=99, n_bootstrap=99)
    expected = hypotheses.overlap_tests(context.sets, draws=draws, store=context.study.fingerprint)
    assert question.tests == expected
    assert [test.name for test in question.tests] == ["H1a", "H1b"]


def test_the_answer_share_does_not_depend_on_how_many_answers_there_are():
    """Against facts with other answers; against all others, the share is smaller with 2 answers than with 10."""
    planting: dict[str, Any] = {
        "fact_strength": 0.2,
        "one_to_one": 0,
        "n_neurons": 128,
        "missing": 0.0,
        "seed": 4,
    }
    shares = []
    for answers in (2, 10):
        sets = plant(facts=320, relations=4, templates=3, answers_per_relation=answers, **planting).sets()
        by_level = excesses(filled(considered(sets)), n_permutations=0)
        same, fact = by_level["answer"].between, by_level["answer"].excess
        bases = by_level["answer"].other, by_level["template"].between
        shares.append([np.nanmean(same - base) / np.nanmean(same - base + fact) for base in bases])
    assert abs(shares[0][0] - shares[1][0]) < 0.05
    assert shares[1][1] - shares[0][1] > 0.05


def test_shares_of_few_facts_are_not_told():
    parts = np.column_stack([np.zeros(12), np.arange(12.0), 12 - np.arange(12.0)])
    share, low, high = answer_share(parts, (np.arange(12),), 0.95)
    assert share == pytest.approx(5.5 / 12)
    assert 0 < low < share < high < 1
    assert np.isnan(answer_share(parts[:9], (np.arange(9),), 0.95)).all()


@pytest.mark.parametrize(
    ("answer", "fact"),
    [(0.4, 0.2), (0.1, 0.1), (0.1, 0.4), (0.5, 0.05)],
    ids=["most", "half", "little", "all"],
)
def test_the_interval_of_a_share_is_around_it(answer, fact):
    """Parts of single facts are far outside 0 and 1: cut off, their mean is another share."""
    sets = plant(
        facts=160, relations=8, templates=4, answer_strength=answer, fact_strength=fact, seed=1
    ).sets()
    used = filled(considered(sets))
    parts = _parts(excesses(used, ("answer",), n_permutations=0)["answer"])
    share, low, high = answer_share(parts, (relation_codes(used)[1],), 0.95)
    assert low < share < high
    rest = parts[~np.isnan(parts).any(axis=1)]
    draws = np.random.default_rng(2).integers(len(rest), size=(400, len(rest)))
    sums = rest[draws].sum(axis=1)  # facts resampled: a width of the same size
    width = np.diff(np.quantile(sums[:, 1] / sums[:, 1:].sum(axis=1), [0.025, 0.975]))[0]
    assert 0.4 * width < high - low < 2.5 * width


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
            "No fact has two known queries with knowledge neurons: there is nothing to compare.",
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
