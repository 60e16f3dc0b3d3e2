"""Shares of inconsistent facts: by thresholds, by relation and by subsets, against enumeration."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from qloc.analysis.localization.consistency import filled
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.inconsistent_share import (
    across_tables,
    ratio_by_relation,
    ratio_question,
    sentence_across,
)
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def question(context):
    return ratio_question(context)


def cs2(own):
    union = set().union(*own)
    return sum(sum(n in s for s in own) > 1 for n in union) / len(union)


@pytest.fixture(scope="module")
def sets_of_facts(context):
    """Fact → its known, non-empty sets, where there are two."""
    used = context.used
    own = {
        fact: [set(used.of(q).tolist()) for q in np.flatnonzero(used.queries["fact"] == fact)]
        for fact in range(used.n_facts)
    }
    return {fact: sets for fact, sets in own.items() if len(sets) >= 2}


def test_static_shares_by_counting(context, question, sets_of_facts, frame):
    table = frame(question, "ki_by_threshold")
    assert sorted(set(table.threshold)) == [0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
    here = table[(table.threshold == 0.2) & (table.rule == "static")].set_index("score_threshold")
    for at in (0.1, 0.3):
        expected = np.mean([cs2(own) < at for own in sets_of_facts.values()])
        assert here.ki[at] == pytest.approx(expected)
        assert here.facts[at] == len(sets_of_facts)


def test_subsets_by_enumeration(context, sets_of_facts):
    table = ratio_by_relation(context).to_frame().set_index("relation")
    relation = context.sets.facts["relation"]
    for name in np.unique(relation[list(sets_of_facts)]):
        shares = [
            np.mean([cs2(chosen) < 0.1 for chosen in combinations(own, 3)])
            for fact, own in sets_of_facts.items()
            if relation[fact] == name and len(own) >= 3
        ]
        assert table.subsets[name] == pytest.approx(np.mean(shares))
        assert table.facts_subsets[name] == len(shares)
    (h2,) = ratio_question(context).tests
    pooled = (table.subsets * table.facts_subsets).sum() / table.facts_subsets.sum()
    assert h2.estimate == pytest.approx(pooled)
    assert (h2.name, h2.verdict) == ("H2", "descriptive")


def test_sizes_of_sets(context, question, frame):
    table = frame(question, "set_sizes").set_index("threshold")
    for threshold in (0.1, 0.5):
        sizes = context.study.neurons("ig", threshold).known().sizes()
        assert table["mean"][threshold] == pytest.approx(sizes.mean())
        assert table["median"][threshold] == np.median(sizes)
        assert table["empty"][threshold] == np.sum(sizes == 0)


def test_thresholds_below_the_floor_are_left_out_and_said_so(study, plan):
    lower = AnalysisContext(study, plan.model_copy(update={"thresholds": (0.01, 0.2)}))
    table = ratio_question(lower).table("ki_by_threshold")
    assert table is not None
    assert set(table.columns["threshold"]) == {0.2}
    assert table.note.endswith("Below the panels' floor (0.05), this store cannot answer for 0.01.")


def test_methods_are_compared_where_there_are_two(context, plan, question, frame):
    table = frame(question, "ki_across_methods").set_index("called")
    scores = [
        context.scores["CS2"].values,
        AnalysisContext(context.study, plan.model_copy(update={"method": "grad_x_act"})).scores["CS2"].values,
    ]
    both = ~np.isnan(scores[0]) & ~np.isnan(scores[1])
    k = np.bincount(context.known.queries["fact"], minlength=len(both))
    alike = Counter(zip(context.clusters[0][both], k[both], strict=True))
    both &= [alike[cell] > 1 for cell in zip(context.clusters[0], k, strict=True)]
    assert (table.facts == both.sum()).all()
    below = [score[both] < 0.1 for score in scores]
    assert table.ki["under all methods"] == pytest.approx(np.mean(below[0] & below[1]))
    assert table.ki["under any method"] == pytest.approx(np.mean(below[0] | below[1]))
    assert question.answer.endswith("were to be expected of independent ones.")
    alone = AnalysisContext(simulate(facts=6, relations=1, templates=3, seed=1), plan)
    assert across_tables(alone) == []
    assert sentence_across(alone, []) == ""


def test_sources_are_of_the_bibliography(question):
    assert [line.partition(".")[0] for line in question.references] == ["Chen et al", "Otsu"]


def test_paradigms_have_shares_of_their_own_pairs(grouped_context):
    table = ratio_by_relation(grouped_context).to_frame().set_index("relation")
    used = filled(grouped_context.pairs.known())
    relation = grouped_context.sets.facts["relation"]
    for paradigm in ("R07", "R08"):
        groups = [
            [set(used.of(int(q)).tolist()) for q in np.flatnonzero(used.queries["fact"] == fact)]
            for fact in np.flatnonzero(relation == paradigm)
        ]
        scores = [cs2(own) for own in groups if len(own) >= 2]
        shares = [np.mean([cs2(c) < 0.1 for c in combinations(own, 3)]) for own in groups if len(own) >= 3]
        assert table.facts[paradigm] == len(scores) > 0
        assert table["below_0.3"][paradigm] == pytest.approx(np.mean(np.array(scores) < 0.3))
        assert table.facts_subsets[paradigm] == len(shares) > 0
        assert table.subsets[paradigm] == pytest.approx(np.mean(shares))
        assert table.kappa[paradigm] == pytest.approx(
            np.nanmean(grouped_context.scores_of_pairs["kappa"].values[relation == paradigm])
        )
