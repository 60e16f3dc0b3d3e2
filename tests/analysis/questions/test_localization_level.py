"""The localization level of a study, against its dense score vectors; the null of facts that share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.localization_level import level_question, levels_of
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def dense_context() -> AnalysisContext:
    study = simulate(facts=24, relations=2, templates=4, n_neurons=32, tier="dense", seed=4)
    return AnalysisContext(study, AnalysisPlan())


def test_levels_are_those_of_the_known_score_vectors(dense_context: AnalysisContext) -> None:
    study, sets = dense_context.study, dense_context.sets
    rows = study.attribution.sel(attribution_method="ig").values.astype(float)
    rows = rows.reshape(len(rows), -1)
    levels = levels_of(dense_context)
    fact, known = sets.queries["fact"], sets.queries["known"]
    for n in range(sets.n_facts):
        for name, counted in (("level", (fact == n) & known), ("level_all", fact == n)):
            here = rows[counted]
            if sets.facts["leaks"][n] or len(here) < 2:
                assert np.isnan(levels[name][n])
                continue
            unit = here / np.linalg.norm(here, axis=1, keepdims=True)
            largest = np.linalg.svd(unit, compute_uv=False)[0]
            # float32 scores, whose Gram matrices are summed in another order
            assert levels[name][n] == pytest.approx((largest**2 - 1) / (len(here) - 1), abs=1e-6)


def test_paraphrases_point_further_one_way_than_different_facts(
    dense_context: AnalysisContext, frame
) -> None:
    question = level_question(dense_context)
    table = frame(question, "localization_level").set_index("relation")
    whole = table.loc["All relations"]
    assert whole.beyond_low > 0  # such neurons are planted
    assert whole.beyond_low < whole.beyond < whole.beyond_high
    assert whole.level_low <= whole.level <= whole.level_high <= 1
    assert question.tests == ()
    assert f"over {int(whole.facts)} facts" in question.answer
    of_facts = levels_of(dense_context)
    assert whole.beyond == pytest.approx(np.nanmean(of_facts["beyond"]))


def test_without_known_queries_there_is_no_level() -> None:
    study = simulate(facts=4, relations=1, templates=1, seed=1)
    answer = level_question(AnalysisContext(study, AnalysisPlan())).answer
    assert answer == "No fact has two known queries with scores, so there is no localization level."
