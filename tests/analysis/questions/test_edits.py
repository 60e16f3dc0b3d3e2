"""Edits: tables against scores and effects one by one; ROME beside the others."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.editing.generalization import UsedConsistency
from qloc.analysis.editing.outcomes import edit_effects, edit_scores, harmonic
from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.edits import CONTRASTS, edits_question


@pytest.fixture(scope="module")
def study(edited_study: Study) -> Study:
    return edited_study


@pytest.fixture(scope="module")
def question(edited_context):
    return edits_question(edited_context)


def test_rome_stands_beside_the_other_edits(study, question, plan, frame):
    """By the same criteria, as an update alone; a fact without a subject in its prompt is counted."""
    scores = frame(question, "edit_scores")
    own = scores[(scores.set == "own") & (scores.operation == "update")].iloc[0]
    for name in ("rome", "rome_identity"):
        row = scores[scores.set == name]
        assert row.operation.tolist() == ["update"]
        row = row.iloc[0]
        expected = edit_scores(study).sel(criterion="argmax", edit_operation="update", edit_set=name)
        for score in ("reliability", "generalization", "locality"):
            assert row[score] == pytest.approx(float(expected[score].mean()))
        assert row.harmonic == pytest.approx(harmonic([row.reliability, row.generalization, row.locality]))
        assert row.empty == 0
        assert row.facts >= own.facts
    contrasts = frame(question, "edit_contrasts").set_index(["operation", "contrast"])
    rome = contrasts.loc[("update", "rome less own")]
    effects = edit_effects(study).sel(edit_operation="update")  # planted: 9 and 6, 1.5 times that in o′
    difference = effects.sel(edit_set="rome") - effects.sel(edit_set="own")
    assert rome.difference == pytest.approx(float(difference.mean()))
    assert rome.difference > 3
    assert "erase" not in contrasts[contrasts.index.get_level_values(1) == "rome less cas"].index
    place = list(study.edits["edit_set"].values).index("rome")
    slots = study.edits["n_slots"].values.copy()
    slots[place, :7] = 0
    fewer = study.edits.assign(n_slots=(("edit_set", "fact"), slots))
    again = edits_question(AnalysisContext(replace(study, datasets={**study.datasets, "edits": fewer}), plan))
    scores = frame(again, "edit_scores").set_index(["operation", "set"])
    edited = study.edits["edited_query"].values[:7]
    known = (edited >= 0) & study.queries["known"].values[edited].astype(bool)
    assert scores.loc[("update", "rome"), "empty"] == (known & (study.facts["leaks"].values[:7] == 0)).sum()


def test_a_store_from_before_rome_is_analyzed(study, question, plan, frame):
    """Its other edits score the same; what had been missing is not asked for."""
    older = study.edits.sel(edit_set=[n for n in study.edits["edit_set"].values if "rome" not in str(n)])
    older_study = replace(study, datasets={**study.datasets, "edits": older})
    found = edits_question(AnalysisContext(older_study, plan))
    scores = [frame(q, "edit_scores") for q in (found, question)]
    assert scores[0].equals(scores[1][~scores[1].set.str.contains("rome")].reset_index(drop=True))
    assert not any("rome" in name for name in frame(found, "edit_contrasts").contrast)
    assert {"H7a", "H7b", "H8a", "H8c"} <= {test.name for test in found.tests}


@pytest.mark.parametrize(
    ("name", "criterion"), [("edit_scores", "argmax"), ("edit_scores_probability", "probability")]
)
def test_scores_are_means_over_facts(study, question, frame, name, criterion):
    table = frame(question, name).set_index(["operation", "set"])
    scores = edit_scores(study)
    for operation, edited in (("erase", "own"), ("update", "cas"), ("update", "in_context")):
        here = scores.sel(criterion=criterion, edit_operation=operation, edit_set=edited)
        row = table.loc[(operation, edited)]
        for score in ("reliability", "generalization", "generalization_used", "locality", "probe_kl", "nats"):
            assert row[score] == pytest.approx(float(here[score].mean()), nan_ok=True), score
        three = [row.reliability, row.generalization, row.locality]
        assert (row.arithmetic, row.harmonic) == pytest.approx(
            (np.mean(three), 3 / sum(1 / x for x in three))
        )
    assert ("erase", "rome") not in table.index


def test_classes_are_told_by_used_queries(edited_context, study, question, frame):
    table = frame(question, "edit_by_class").set_index(["operation", "set"])
    cs2 = UsedConsistency(study).cs2
    scores = edit_scores(study).sel(criterion="argmax", edit_operation="update", edit_set="own")
    at = edited_context.plan.consistency_threshold
    for label, here in (("consistent", cs2 >= at), ("inconsistent", cs2 < at)):
        row = table.loc[("update", f"own, {label}")]
        reliability = scores["reliability"].values[here]
        assert row.facts == np.sum(~np.isnan(reliability))
        assert row.reliability == pytest.approx(np.nanmean(reliability) if row.facts else np.nan, nan_ok=True)


def test_contrasts_are_differences_of_effects(study, question, frame):
    table = frame(question, "edit_contrasts").set_index(["operation", "contrast"])
    effects, everything = edit_effects(study), edit_effects(study, known=False)
    there = [pair for pair in CONTRASTS if {*pair} <= {*effects.edit_set.values}]
    assert {f"{first} less {second}" for first, second in there} == {
        *table.index.get_level_values("contrast")
    }
    for first, second in there:
        pair = [effects.sel(edit_operation="update", edit_set=name).values for name in (first, second)]
        both = [everything.sel(edit_operation="update", edit_set=name).values for name in (first, second)]
        row = table.loc[("update", f"{first} less {second}")]
        assert row.difference == pytest.approx(np.nanmean(pair[0] - pair[1]))
        assert row.difference_all == pytest.approx(np.nanmean(both[0] - both[1]))
    assert (table.p_adjusted >= table.p).all()


def test_tests_and_answer(question):
    names = [test.name for test in question.tests]
    assert names == ["H7a", "H7b", "H8a", "H8b", "H8c", "H8d", "H8e", "H10d"]
    assert question.answer.startswith("Of 60 facts, an update of N_i leaves ")
    assert "more in log-odds" not in question.answer  # verdicts say that, after correction


def test_an_update_that_wrecks_the_model_is_told(study, question, plan):
    assert "wrecks" not in question.answer
    place = {"edit_operation": "update", "edit_set": "own"}
    edits = study.edits.copy(deep=True).assign_attrs(lambda1=1.0, lambda2=8.0)
    edits["probe_argmax"].loc[place] = edits["base_probe_argmax"] + 1
    wrecked = replace(study, datasets={**study.datasets, "edits": edits})
    answer = edits_question(AnalysisContext(wrecked, plan)).answer
    assert "leaves 0% of unrelated prompts" in answer
    assert answer.endswith(
        "So strong an update wrecks the model: most prompts are answered otherwise, whatever was edited, so that "
        "sets are hardly compared. λ1 is 1.00, λ2 8.00; smaller ones make an update that a model survives "
        "(docs/methods.md#strength-of-updates)."
    )
