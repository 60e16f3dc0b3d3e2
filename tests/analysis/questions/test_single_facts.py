"""Single facts: shown on other queries than they were chosen on, with the store's own values."""

import numpy as np
import pytest
from viewed_study import viewed

from qloc.analysis.localization.shown_facts import N_NEURONS, ShownFacts, halves
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.single_facts import (
    HEATMAP_COLUMNS,
    _answer,
    heatmap_question,
)
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def question(context):
    return heatmap_question(context)


def test_activations_shown_are_the_stores(study, question, frame):
    table = frame(question, "activation_typical")
    kept = study.signals["activation"].values
    panel = study.signals["panel_neuron"].values
    fact = study.column("queries", "fact")
    n_neurons = study.neurons().n_neurons
    for cell in table.itertuples():
        (slot,) = np.flatnonzero(panel[fact[cell.query]] == cell.layer * n_neurons + cell.index)
        assert cell.value == kept[cell.query, slot]


def test_heatmaps_show_queries_the_fact_was_not_chosen_on(study, question, plan, frame):
    sets = study.neurons().known()
    used = sets.select(sets.sizes() > 0)
    chosen, shown = halves(used, plan.seed)
    assert not (chosen & shown).any()
    assert (chosen | shown).all()
    cells = frame(question, "heatmap_typical")
    whole = study.neurons()
    for query, group in cells.groupby("query"):
        assert group.value.max() <= 1
        neurons = group.layer * whole.n_neurons + group["index"]
        assert group.member.tolist() == np.isin(neurons, whole.of(query)).tolist()
    assert list(cells.columns) == HEATMAP_COLUMNS


def test_cells_are_the_strongest_neurons_of_the_queries_shown(context, study, question, frame):
    cells = frame(question, "heatmap_typical")
    signals = study.signals_of("ig")
    queries = cells["query"].unique()
    _, values, panel = signals.rows(queries)
    relative = values / signals.maximum[queries][:, None]
    strongest = np.sort(relative.mean(axis=0)[panel[0] >= 0])[::-1][:N_NEURONS]
    means = cells.groupby(["layer", "index"]).value.mean().to_numpy()
    assert np.sort(means)[::-1] == pytest.approx(strongest)
    assert len(cells) == len(queries) * len(strongest)


def test_nothing_can_be_shown_without_four_queries(plan):
    question = heatmap_question(AnalysisContext(simulate(facts=4, relations=1, templates=1, seed=1), plan))
    assert question.tables == ()
    assert question.answer == (
        "No fact has four known queries with knowledge neurons: none can be chosen and shown."
    )


def test_extremes_move_towards_the_mean_only_where_both_do(context):
    """Two facts of a mean of 0.5: where one is further from it than it was when chosen, nothing is claimed."""
    facts = {"most consistent": 0, "typical": 1, "least consistent": 2}
    chosen = np.full(context.sets.n_facts, np.nan)
    chosen[:3] = 0.9, 0.5, 0.1
    for shown, moved in (((0.8, 0.5, 0.2), True), ((0.95, 0.35, 0.2), False), ((0.8, 0.6, 0.1), False)):
        later = np.full(context.sets.n_facts, np.nan)
        later[:3] = shown
        later[3] = 0.0  # has no overlap where facts are chosen: not of the mean
        answer = _answer(context, facts, chosen, later)
        assert "The mean over facts is 0.50 where shown" in answer
        assert answer.endswith("extremes move towards it.") is moved
    assert not _answer(context, {"typical": 1}, chosen, later).endswith("extremes move towards it.")


def test_viewed_facts_are_shown_before_and_after_with_their_attention(study, plan, question):
    """Two rows a query, the same neurons as of the heatmap; frames are synapses."""
    shown = ShownFacts.of(study.neurons(), plan.seed)
    facts = shown.by_role
    seen = heatmap_question(AnalysisContext(viewed(study, [facts["typical"]]), plan))
    names = [table.name for table in seen.tables]
    assert names == [
        *(f"heatmap_{role.replace(' ', '_')}" for role in facts), "suppressed_typical", "attention_typical"
    ]  # fmt: skip
    assert "suppressed_typical" not in [table.name for table in question.tables]
    frames = {table.name: table.to_frame() for table in seen.tables}
    cells, before = frames["suppressed_typical"], frames["heatmap_typical"]
    assert len(cells) == 2 * len(before)
    first = cells[~cells["suppressed"]].reset_index(drop=True)
    for name in ("row", "column", "member", "query"):
        assert first[name].tolist() == before[name].tolist()
    later = cells[cells["suppressed"]]
    assert later["row"].tolist() == [f"Suppressed: {row}" for row in before["row"]]
    told = ~np.isnan(first["activation"])
    assert told.any()
    np.testing.assert_allclose(
        later["activation"].to_numpy()[told], first["activation"].to_numpy()[told] / 2, rtol=1e-6
    )
    attention = frames["attention_typical"]
    assert attention["attention"].between(0, 1).all()
    assert attention["synapse"].any()
    assert len(attention) == attention["head"].nunique() * attention["token"].nunique()
