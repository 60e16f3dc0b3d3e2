"""The tables of Niu et al. 2024: flips counted by hand, and entailments from their scores."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.analysis.editing.entailment_outcomes import EntailmentOutcomes
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.refined_neurons import LOOPS, refined_neurons
from qloc.analysis.reproductions.niu_tables import LAYOUTS
from qloc.analysis.reproductions.published import published
from qloc.analysis.reproductions.published_tables import reproduce


def test_tables_are_those_of_the_outcomes(study: Study) -> None:
    result = reproduce(study, LAYOUTS, published("niu"))
    tables = {table.name: table.to_frame() for question in result.questions for table in question.tables}
    group = study.interventions
    arm = group.sel(operation="suppress", neuron_set="own")
    leaks = study.column("facts", "leaks")[study.column("queries", "fact")] > 0
    counted = (study.column("queries", "kind") == "fact") & ~leaks & (group["base_rank"].values == 1)
    counted &= arm["n_neurons"].values > 0
    flipped = arm["rank"].values > 1
    shown = tables["niu_suppression"].query("kind == 'fact'").set_index("set")
    row = shown.loc["own"]
    assert row.low <= row.share <= row.high
    assert (row.share, row.queries) == pytest.approx((flipped[counted].mean(), counted.sum()))
    relation = study.column("queries", "relation")
    by = [flipped[counted & (relation == name)].mean() for name in np.unique(relation[counted])]
    assert row.largest == pytest.approx(max(by))
    outcomes = EntailmentOutcomes.of(study)
    symmetry = tables["niu_symmetry"].set_index("set")
    assert symmetry.loc["rome", "lost_known"] == pytest.approx(
        np.nanmean(outcomes.score("lost", "update", "rome", "argmax"))
    )
    synonymy = tables["niu_synonymy"].set_index("set")
    every = EntailmentOutcomes.of(study, known=False)
    assert synonymy.loc["rome", "synonymy"] == pytest.approx(
        np.nanmean(every.score("synonymy", "update", "rome", "argmax", conditional=False))
    )
    published_cells = tables["niu_suppression_published"]
    assert "at most 5.2%" in published_cells.published.tolist()
    assert any("figures of causal tracing: not on file" in note for note in result.notes)


def test_loops_stand_side_by_side(study: Study) -> None:
    result = reproduce(study, LAYOUTS, published("niu"))
    tables = {table.name: table.to_frame() for question in result.questions for table in question.tables}
    shown = tables["niu_refined"].set_index("loop")
    sets = study.neurons().known()
    there = np.unique(sets.queries["fact"][sets.sizes() > 0])
    for loop in LOOPS:
        refined = refined_neurons(sets, loop=loop)
        n = refined.member.toarray()[there].sum(1)
        assert shown.loc[loop, "neurons"] == pytest.approx(n.mean())
        assert shown.loc[loop, "within"] == pytest.approx(np.mean((n >= 2) & (n <= 5)))
        assert shown.loc[loop, "converged"] == pytest.approx(np.mean(list(refined.converged.values())))
    assert shown.loc["dai", "jaccard"] == 1


def test_tracing_has_facts_and_syntax(traced_study: Study) -> None:
    result = reproduce(traced_study, LAYOUTS, published("niu"))
    (table,) = (
        table for question in result.questions for table in question.tables if table.name == "niu_tracing"
    )
    shown = table.to_frame()
    assert set(shown.kind) == {"facts", "syntax"}
    best = shown[(shown.kind == "facts") & (shown.part == "mlp") & (shown.role == "the subject's last")]
    assert best.layer.tolist() == [traced_study.signals.sizes["layer"] - 1]
