"""The headline under other choices: cells against the headline's own numbers, and budgets."""

import numpy as np
import pandas as pd
import pytest

from qloc.analysis import hypotheses
from qloc.analysis.inference.draws import Draws
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.sensitivity import sensitivity_question, wide
from qloc.text.rounding import p_value


@pytest.fixture(scope="module")
def question(context):
    return sensitivity_question(context)


def test_budgets_that_no_panel_can_fill_are_said(study, dense_study, question, plan, frame):
    table = question.table("by_budget")
    assert table.columns["b"] == (5,)
    assert table.note.endswith("The store's panels cannot fill b = 10, 20, 40, 80.")
    few = AnalysisContext(study, plan.model_copy(update={"thresholds": (0.2,), "budgets": (80,)}))
    first, _ = sensitivity_question(few).tables
    assert first.note.endswith("The store's panels cannot fill b = 80.")
    dense = AnalysisContext(dense_study, plan.model_copy(update={"thresholds": (0.2,), "budgets": (5, 10)}))
    found = frame(sensitivity_question(dense), "by_budget")
    assert found.b.tolist() == [5, 10]
    assert found.ki.iloc[0] >= found.ki.iloc[1]  # fewer neurons, fewer shared
    assert (found.kappa_low <= found.kappa).all()


def test_the_headline_is_one_of_the_choices(context, question, frame):
    table = frame(question, "multiverse").set_index(["choice", "threshold"])
    row = table.loc[("ig, known queries", 0.2)]
    assert row.kappa == pytest.approx(np.nanmean(context.scores["kappa"].values))
    h1a, h1b = hypotheses.overlap_tests(context.sets, draws=Draws(n_permutations=99))
    assert (row.beyond_template, row.beyond_answer) == pytest.approx((h1a.estimate, h1b.estimate))
    other = table.loc[("grad_x_act, all queries", 0.4)]
    scores = AnalysisContext(
        context.study, context.plan.model_copy(update={"method": "grad_x_act", "threshold": 0.4})
    ).scores_all
    assert other.kappa == pytest.approx(np.nanmean(scores["kappa"].values))
    assert len(table) == 2 * 7 * 2


def test_a_wide_frame_has_one_row_for_each_choice():
    rows = [
        {"b": b, "measure": measure, "value": b + place, "low": b - 1.0, "high": b + 9.0, "facts": 3 + place}
        for b in (1, 2)
        for place, measure in enumerate(("kappa", "ki", "beyond_template", "beyond_answer"))
    ]
    frame = wide(pd.DataFrame(rows), ["b"])
    assert frame.b.tolist() == [1, 2]
    assert frame.beyond_answer.tolist() == [4, 5]
    assert (frame.ki_low.tolist(), frame.ki_high.tolist()) == ([0, 1], [10, 11])
    assert frame.facts.tolist() == [3, 3]  # those with a κ


def test_all_choices_together_have_one_p(question, frame):
    table, whole = frame(question, "multiverse_joint"), frame(question, "multiverse")
    assert table.choices.tolist() == [28, 28]
    medians = [whole.beyond_template.median(), whole.beyond_answer.median()]
    assert table["median"].tolist() == pytest.approx(medians)
    assert ((table.p > 0) & (table.p <= 1)).all()
    for name, p in zip(("template (H1a)", "answer (H1b)"), table.p, strict=True):
        assert f"beyond the {name} is above 0 with its interval in " in question.answer
        assert f" of 28; joint p, in these relations: {p_value(p)}." in question.answer


def test_the_answer_counts_the_choices(question, frame):
    table = frame(question, "multiverse")
    assert question.answer.startswith(
        f"Over 28 choices of method, threshold and queries: κ from {table.kappa.min():.2f} to "
        f"{table.kappa.max():.2f} and K_I(3) from {table.ki.min():.2f} to {table.ki.max():.2f}."
    )
