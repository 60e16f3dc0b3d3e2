"""The localization level of a study, against its dense score vectors; the null of facts that share nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.localization_level import level_question, levels_of
from qloc.analysis.wording import number
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


def test_paraphrases_point_further_one_way_than_different_facts(frame) -> None:
    """Of eight relations: the interval speaks for new ones."""
    study = simulate(tier="dense", facts=48, relations=8, templates=3, methods=("ig",), seed=2)
    context = AnalysisContext(study, AnalysisPlan())
    question = level_question(context)
    table = frame(question, "localization_level").set_index("relation")
    whole = table.loc["All relations"]
    assert whole.beyond_low > 0  # such neurons are planted
    assert whole.beyond_low < whole.beyond < whole.beyond_high
    assert whole.level_low <= whole.level <= whole.level_high <= 1
    assert question.tests == ()
    assert f"over {int(whole.facts)} facts" in question.answer
    of_facts = levels_of(context)
    assert whole.beyond == pytest.approx(np.nanmean(of_facts["beyond"]))


def test_without_known_queries_there_is_no_level() -> None:
    study = simulate(facts=4, relations=1, templates=1, seed=1)
    answer = level_question(AnalysisContext(study, AnalysisPlan())).answer
    assert answer == "No fact has two known queries with scores, so there is no localization level."


def test_all_relations_are_facts_without_minimal_pairs(grouped_context, frame) -> None:
    levels = levels_of(grouped_context)
    relation = grouped_context.sets.facts["relation"]
    pair = np.isin(relation, ("R07", "R08"))
    table = frame(level_question(grouped_context), "localization_level").set_index("relation")
    for name, values in levels.items():
        assert table[name]["All relations"] == pytest.approx(np.nanmean(values[~pair]))
        assert table[name]["R07"] == pytest.approx(np.nanmean(values[relation == "R07"]))
    assert table.facts["All relations"] == np.sum(~np.isnan(levels["level"][~pair]))


def test_pairs_alone_are_all_of_the_study(pairs_context, frame) -> None:
    whole = (
        frame(level_question(pairs_context), "localization_level").set_index("relation").loc["All relations"]
    )
    assert whole.level == pytest.approx(np.nanmean(levels_of(pairs_context)["level"]))


def test_a_null_of_pairs_alone_is_none_of_facts(grouped_context) -> None:
    """Where groups of pairs have a null and facts have none, the sentence on facts says so."""
    study = grouped_context.study
    pair = np.isin(grouped_context.sets.facts["relation"], ("R07", "R08"))
    null = study.grams["null_gram"]
    grams = study.grams.assign(null_gram=null.where(xr.DataArray(pair, dims="fact")))
    bare = AnalysisContext(replace(study, datasets={**study.datasets, "grams": grams}), grouped_context.plan)
    question = level_question(bare)
    table = question.tables[0].to_frame().set_index("relation")
    assert table.null["R07"] > 0
    assert np.isnan(table.null["All relations"])
    assert "No fact has enough others to compare with" in question.answer


def test_facts_are_told_beside_different_ones_where_there_are_others(grouped_context) -> None:
    """With a null for half of the facts, both figures of the sentence are of that half."""
    study, levels = grouped_context.study, levels_of(grouped_context)
    pair = np.isin(grouped_context.sets.facts["relation"], ("R07", "R08"))
    half = np.arange(len(pair)) % 2 == 0
    grams = study.grams.assign(null_gram=study.grams["null_gram"].where(xr.DataArray(half, dims="fact")))
    fewer = AnalysisContext(replace(study, datasets={**study.datasets, "grams": grams}), grouped_context.plan)
    here = half & ~pair & ~np.isnan(levels["beyond"])
    own, null = np.mean(levels["level_all"][here]), np.mean(levels["null"][here])
    assert (
        f"over all queries of the {here.sum()} facts that others can be compared with {number(own)}, where as "
        f"many queries of different facts have {number(null)}."
    ) in level_question(fewer).answer
