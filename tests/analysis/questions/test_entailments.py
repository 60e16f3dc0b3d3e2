"""Edits and what they entail: one row an edit, every criterion beside the others."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.editing.entailment_outcomes import Entailed, EntailmentOutcomes
from qloc.analysis.editing.outcomes import edit_scores
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.entailments import entailments_question


@pytest.fixture(scope="module")
def question(edited_context):
    return entailments_question(edited_context)


def test_rows_are_means_of_the_scores(edited_study, question, frame):
    scores = edit_scores(edited_study).sel(criterion="argmax")
    outcomes = EntailmentOutcomes.of(edited_study)
    of_entailed: tuple[Entailed, ...] = ("lost", "synonymy", "neighborhood")
    table = frame(question, "edit_entailments").set_index(["operation", "set"])
    for operation, name in (("update", "rome"), ("erase", "own"), ("update", "in_context")):
        row = table.loc[(operation, name)]
        for score in ("reliability", "locality"):
            own = scores[score].sel(edit_operation=operation, edit_set=name).values
            assert row[score] == pytest.approx(np.nanmean(own))
        for entailed in of_entailed:
            own = outcomes.score(entailed, operation, name, "argmax")
            assert row[entailed] == pytest.approx(np.nanmean(own))
            assert row[f"{entailed}_low"] <= row[entailed] <= row[f"{entailed}_high"]
    assert np.isnan(table.loc[("erase", "own"), "symmetry"])
    assert ("erase", "rome") not in table.index


def test_what_is_known_before_is_a_condition_of_the_headline_alone(edited_study, plan, frame):
    """A model that ranks no old answer first leaves nothing to the headline, and all to the other table."""
    group = edited_study.entailments
    unknown = group.assign(base_rank=group["base_rank"].where(group["base_rank"] < 0, 2))
    study = replace(edited_study, datasets={**edited_study.datasets, "entailments": unknown})
    found = entailments_question(AnalysisContext(study, plan))
    headline, every = (frame(found, name) for name in ("edit_entailments", "edit_entailments_all"))
    assert (headline.facts_synonymy == 0).all()
    assert (every.facts_synonymy[every.operation == "update"] > 10).all()
    assert (every.facts_gained[every.operation == "update"] > 10).all()


def test_tests_and_screen_agree(question, frame):
    moves = frame(question, "edit_entailment_moves").set_index(["operation", "set", "entailed"])
    by = {test.name: test for test in question.tests}
    assert list(by) == ["H13a", "H13b", "H13c", "H13d"]
    assert by["H13b"].estimate == pytest.approx(moves.loc[("update", "rome", "inverse"), "difference"])
    assert by["H13c"].estimate == pytest.approx(moves.loc[("update", "own", "synonym"), "difference"])
    assert (moves.p_adjusted >= moves.p).all()
    assert question.answer.startswith("Of ")
    assert "ROME makes o′ the answer to " in question.answer
