"""Behaviour by κ: fifths against sorting by hand, slopes against the hypotheses."""

import numpy as np
import pandas as pd
import pytest

from qloc.analysis import hypotheses
from qloc.analysis.localization.behaviour import OUTCOMES
from qloc.analysis.localization.fact_columns import fact_columns
from qloc.analysis.questions.behaviour import _note, behaviour_question, by_fifth
from qloc.analysis.questions.context import AnalysisContext
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def question(context):
    return behaviour_question(context)


def test_slopes_are_those_of_h10(context, question, frame):
    table = frame(question, "behaviour_slopes").set_index("outcome")
    assert [test.name for test in question.tests] == ["H10a", "H10b", "H10c"]
    for test, row in zip(question.tests, table.itertuples(), strict=True):
        assert (row.p, row.facts) == (test.p, test.n["facts"])
        assert test.effect is not None
        assert row.slope == test.effect.value
    assert question.tests[0].question == hypotheses.REGISTRY["H10a"].question
    assert question.answer == ""  # verdicts make it, after correction


def test_fifths_are_of_ranks_within_relations(context, question, frame):
    columns = fact_columns(context.study, method="ig", threshold=0.2, known=False)
    table = frame(question, "behaviour_by_kappa")
    fifth = np.full(len(columns), 0)
    for name in columns.relation.unique():
        here = [i for i in np.flatnonzero(columns.relation == name) if not np.isnan(columns.kappa.iloc[i])]
        for place, i in enumerate(sorted(here, key=lambda i: columns.kappa.iloc[i])):
            fifth[i] = int((place + 0.5) / len(here) * 5) + 1 if len(here) >= 5 else 0
    assert table.facts.tolist() == np.bincount(fifth, minlength=6)[1:].tolist()
    for row in table.itertuples():
        here = columns[fifth == row.fifth]
        assert row.kappa == pytest.approx(here.kappa.mean())
        assert row.agreement == pytest.approx(here.agreement.mean())
        assert row.log_probability == pytest.approx(here.log_probability.mean())
    assert (np.diff(table.kappa) > 0).all()


def test_no_fact_gives_no_fifth():
    nothing = pd.DataFrame({"relation": ["a"], "kappa": [np.nan], "agreement": [1.0]})
    assert list(by_fifth(nothing, 0.95)) == [
        "fifth", "kappa", "agreement", "candidate_agreement", "log_probability", "facts",
    ]  # fmt: skip


def test_too_few_relations_are_said(plan):
    few = behaviour_question(AnalysisContext(simulate(facts=8, relations=1, templates=3, seed=1), plan))
    assert few.answer == ("It takes three relations with facts whose κ and answers differ.")


def test_fifths_are_as_large_below_as_above_and_small_relations_are_left_out():
    """Eight facts of a: 2, 1, 2, 1, 2. Four of b, and the only one of c, are counted and in no fifth."""
    relation = ["a"] * 8 + ["b"] * 4 + ["c"]
    columns = pd.DataFrame({"relation": relation, "kappa": np.arange(13) / 13})
    columns = columns.assign(**dict.fromkeys(OUTCOMES, np.linspace(-2, -1, 13)))
    table = by_fifth(columns, 0.95)
    assert table.facts.tolist() == [2, 1, 2, 1, 2]
    assert table.kappa.tolist() == pytest.approx([0.5 / 13, 2 / 13, 3.5 / 13, 5 / 13, 6.5 / 13])
    assert _note(columns).endswith("Left out: 5 facts of 2 relations of fewer than five facts with κ.")
    assert _note(columns[:8]) == "Descriptive: no covariates."
