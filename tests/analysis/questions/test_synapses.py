"""Attention: tables against effects and contrasts at equal mass, one by one."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.interventions.knowledge_synapses import AttentionOutcomes, synapse_effects
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.synapses import synapses_question
from qloc.vocabulary import QUERY, SYNAPSE_OPERATION, SYNAPSE_SET, WORD


@pytest.fixture(scope="module")
def question(edited_context):
    return synapses_question(edited_context)


def test_effects_are_means_over_facts(edited_study, question, frame):
    table = frame(question, "synapse_effects").set_index(["operation", "synapse_set"])
    for outcome in ("log_odds", "activation"):
        effects = synapse_effects(edited_study, outcome=outcome)
        for operation, arm in (("suppress", "knowledge"), ("enhance_renormalized", "published")):
            expected = effects.sel(synapse_operation=operation, synapse_set=arm).values
            assert table.loc[(operation, arm), outcome] == pytest.approx(np.nanmean(expected))
    attended = AttentionOutcomes.of(edited_study)
    mass = edited_study.synapses["removed_mass"].sel(synapse_set="other_heads").values[attended.rows.used]
    assert table.loc[("suppress", "other_heads"), "removed_mass"] == pytest.approx(
        np.nanmean(mass.astype(float))
    )


def test_words_are_told_where_they_were_asked(edited_context, question, frame, rng):
    assert question.table("synapse_words") is None
    study = edited_context.study
    groups = {name: study.datasets[name] for name in ("interventions", "synapses")}
    shape, dims = groups["synapses"]["log_probability"].shape, (SYNAPSE_OPERATION, SYNAPSE_SET, QUERY)
    probes = {str(name): ["x", "y"] for name in np.unique(study.column("queries", "relation"))}
    base = rng.uniform(-6, -3, (shape[-1], 2))
    before = {"base_word_log_probability": ((QUERY, WORD), base)}
    after = {"word_log_probability": ((*dims, WORD), np.broadcast_to(base - 1, (*shape, 2)))}
    asked = {
        "interventions": groups["interventions"].assign(before).assign_attrs(probes=probes),
        "synapses": groups["synapses"].assign(after),
    }
    probed = replace(study, datasets={**study.datasets, **asked})
    table = frame(synapses_question(replace(edited_context, study=probed)), "synapse_words")
    others = table[table.word == "other words, mean"]
    assert others.relation.tolist() == table[table.word == "right answer"].relation.tolist()
    assert (others.own < -1).all()  # of log-odds a little more than of log P
    assert others.difference.to_numpy() == pytest.approx(0)


@pytest.mark.parametrize(
    ("name", "outcome"), [("synapse_contrasts", "answer"), ("synapse_contrasts_activation", "activation")]
)
def test_contrasts_are_of_queries_of_equal_mass(edited_study, question, frame, name, outcome):
    table = frame(question, name).set_index(["operation", "control"])
    attended = AttentionOutcomes.of(edited_study)
    used = attended.rows.used
    for control in ("random_columns", "other_heads"):
        x = attended.against("enhance", control, outcome)
        row = table.loc[("enhance", control)]
        assert row.queries == np.sum(used & ~np.isnan(x))
        assert row.unequal == np.sum(used & ~attended.equal_mass(control))
        of_facts = [
            x[used & ~np.isnan(x) & (attended.rows.fact == f)] for f in range(len(attended.rows.relation))
        ]
        assert row.difference == pytest.approx(np.mean([values.mean() for values in of_facts if len(values)]))


def test_both_outcomes_are_one_family(question, frame):
    """Benjamini–Hochberg over the rows of both tables: by sorting."""
    both = [frame(question, name) for name in ("synapse_contrasts", "synapse_contrasts_activation")]
    p = np.concatenate([table.p.to_numpy() for table in both])
    adjusted = np.concatenate([table.p_adjusted.to_numpy() for table in both])
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    expected = np.minimum.accumulate(steps[::-1])[::-1]
    assert adjusted[order] == pytest.approx(np.minimum(expected, 1))


def test_tests_are_h6(question, frame):
    assert [test.name for test in question.tests] == ["H6a", "H6b"]
    table = frame(question, "synapse_contrasts").set_index(["operation", "control"])
    assert table.difference["suppress", "random_columns"] == pytest.approx(question.tests[1].estimate)
    assert question.answer == ""  # verdicts make it, after correction


def test_without_controls_nothing_is_tested(edited_study, plan):
    fewer = edited_study.synapses.sel(synapse_set=["published"])
    context = AnalysisContext(
        replace(edited_study, datasets={**edited_study.datasets, "synapses": fewer}), plan
    )
    question = synapses_question(context)
    assert question.tests == ()
    assert question.answer == "No query has knowledge synapses and a control of equal mass."
