"""Whose neurons move an answer: tables against effects, classes and doses that are computed one by one."""

import numpy as np
import pytest

from qloc.analysis.inference.multiplicity import in_families
from qloc.analysis.interventions.neuron_effects import ArmOutcomes, intervention_effects
from qloc.analysis.interventions.query_kn_mapping import others_of
from qloc.analysis.interventions.reprompt_ceiling import ceiling_of
from qloc.analysis.questions.interventions import interventions_question
from qloc.analysis.verdicts import sentence_of
from qloc.plan import AnalysisPlan


@pytest.fixture(scope="module")
def question(edited_context):
    return interventions_question(edited_context)


def test_effects_are_means_over_facts(edited_study, question, frame):
    table = frame(question, "intervention_effects").set_index(["operation", "neuron_set"])
    for measure in ("log_odds", "logit", "margin", "probability"):
        effects = intervention_effects(edited_study, measure=measure)
        for operation, arm in (("suppress", "own"), ("enhance", "matched"), ("resample", "union")):
            expected = effects.sel(operation=operation, neuron_set=arm).values
            assert table.loc[(operation, arm), measure] == pytest.approx(np.nanmean(expected))
    every = intervention_effects(edited_study, known=False).sel(operation="suppress", neuron_set="own").values
    assert table.loc[("suppress", "own"), "log_odds_all"] == pytest.approx(np.nanmean(every))
    assert len(table) == 4 * edited_study.interventions.sizes["neuron_set"]


def test_contrasts_are_those_of_the_tests(question, frame):
    assert [test.name for test in question.tests] == ["H5a", "H5b", "H5", "H5c"]
    table = frame(question, "intervention_contrasts")
    rows = table[(table.operation == "suppress") & (table.outcome == "log-odds, known queries")].set_index(
        "control"
    )
    for control, test in zip(("matched", "other_fact"), question.tests, strict=False):
        assert rows.difference[control] == pytest.approx(test.estimate)
        assert rows.facts[control] == test.n["facts"]
    assert (table.p_adjusted >= table.p).all()
    assert len(table) == 4 * 2 * (
        3 + 1
    )  # operations, controls, measures of known queries and log-odds of all


def test_classes_divide_the_queries(edited_context, edited_study, question, frame):
    table = frame(question, "query_kn_mapping")
    changed, other = ArmOutcomes.of(edited_study), others_of(edited_study)
    gap = changed.contrast("suppress", "own_minus_neighbor", "neighbor_minus_own")
    used = changed.rows.used & ~np.isnan(gap)
    rows = table[table.operation == "suppress"].set_index("class")
    at = edited_context.plan.consistency_threshold
    members = {"consistent": other.cs2 >= at, "inconsistent": other.cs2 < at, "not told": np.isnan(other.cs2)}
    for name, here in members.items():
        assert rows.queries[name] == np.sum(used & here)
        of_facts = [
            gap[used & here & (changed.rows.fact == fact)]
            for fact in np.unique(changed.rows.fact[used & here])
        ]
        assert rows.gap[name] == pytest.approx(np.mean([values.mean() for values in of_facts]))
    assert rows.queries.sum() == used.sum()


def test_the_ceiling_is_the_gap_less_what_lies_beyond(edited_study, question, frame):
    table = frame(question, "query_kn_ceiling")
    assert table.beyond.to_numpy() == pytest.approx((table.gap - table.ceiling).to_numpy(), nan_ok=True)
    whole = table[(table["class"] == "all") & (table.operation == "suppress")].iloc[0]
    (h5,) = (test for test in question.tests if test.name == "H5")
    assert whole.beyond == pytest.approx(h5.estimate)
    ceiling = ceiling_of(ArmOutcomes.of(edited_study), edited_study.reprompts, "suppress")
    assert whole.queries == np.sum(~np.isnan(ceiling.beyond))


def test_neurons_are_counted_where_there_is_an_effect_and_empty_sets_where_one_was_asked(
    edited_study, question, frame
):
    table = frame(question, "intervention_effects").set_index(["operation", "neuron_set"])
    used = ArmOutcomes.of(edited_study).rows.used
    found = edited_study.interventions
    again = edited_study.reprompts["n_neurons"].values >= 0
    lonely = found["neighbor"].values < 0
    assert 0 < np.sum(used & again) < np.sum(used)
    for arm, asked in (
        ("own", np.ones(len(used), dtype=bool)),
        ("own_minus_neighbor", ~lonely),
        ("intersection", np.ones(len(used), dtype=bool)),
        ("own_minus_reprompt", again),
        ("reprompt", again),
    ):
        n = found["n_neurons"].sel(neuron_set=arm).values
        after = found["log_probability"].sel(operation="enhance", neuron_set=arm).values
        row = table.loc[("enhance", arm)]
        assert row.neurons == pytest.approx(n[used & ~np.isnan(after)].mean())
        assert row["empty"] == np.sum(used & asked & (n == 0))


def test_doses_are_fifths_of_the_sizes(edited_study, question, frame):
    table = frame(question, "dose_response")
    changed = ArmOutcomes.of(edited_study)
    n = edited_study.interventions["n_neurons"].sel(neuron_set="own").values
    sizes = np.sort(n[changed.rows.used & (n > 0)])
    assert table.queries.sum() == len(sizes)
    assert table.queries.max() - table.queries.min() <= 1
    first = table.queries.iloc[0]
    assert table.neurons.iloc[0] == pytest.approx(sizes[:first].mean())
    assert (np.diff(table.neurons) >= 0).all()


def test_the_answer_says_what_the_tests_say(question):
    (corrected,) = in_families([question], AnalysisPlan())
    assert question.answer == ""
    assert corrected.answer == " ".join(filter(None, map(sentence_of, corrected.tests)))
    assert [line.partition(",")[0] for line in question.references] == [
        "Chen et al. Knowledge Localization: Mission Not Accomplished? Enter Query Localization! ICLR 2025. arXiv:2405.14117",
        "Dai",
    ]
