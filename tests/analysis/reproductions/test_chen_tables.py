"""The tables of Chen et al. 2025: recounted by hand from planted outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner, Result

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.knowledge_synapses import synapse_effects
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.reproductions.chen_tables import LAYOUTS, single_facts
from qloc.analysis.reproductions.published import published
from qloc.analysis.reproductions.published_tables import reproduce
from qloc.analysis.results import StudyResult
from qloc.cli import app
from qloc.plan import AnalysisPlan, Plan, plan_from
from qloc.simulation.simulate import simulate

PLAN = AnalysisPlan(consistency_threshold=0.3)


@pytest.fixture(scope="module")
def result(study: Study) -> StudyResult:
    return reproduce(study, LAYOUTS, published("chen"), PLAN)


@pytest.fixture(scope="module")
def tables(result: StudyResult) -> dict[str, pd.DataFrame]:
    return {table.name: table.to_frame() for question in result.questions for table in question.tables}


def considered(study: Study) -> np.ndarray:
    fact = study.column("queries", "fact")
    leaks = study.column("facts", "leaks")[fact] > 0
    return (study.column("queries", "known") == 1) & ~leaks & (study.column("queries", "kind") == "fact")


def test_all_tables_of_the_paper_are_made(tables: dict) -> None:
    assert {layout.name for layout in LAYOUTS} < set(tables)
    for layout in LAYOUTS:
        assert set(layout.shown) <= set(tables[layout.name])
        assert set(layout.labels) <= set(tables[layout.name])


def test_ratio_and_welch_are_those_of_the_scores(study: Study, tables: dict) -> None:
    frame = tables["chen_ratio"].set_index(["score", "threshold"])
    for score in ("CS1", "CS2"):
        values = consistency(study.neurons())[score].values
        values = values[~np.isnan(values)]
        low, high = values[values < 0.3], values[values >= 0.3]
        row = frame.loc[(score, "0.3")]
        assert row.ratio == pytest.approx(len(low) / len(values))
        if min(len(low), len(high)) > 1:
            assert row.t == pytest.approx(stats.ttest_ind(high, low, equal_var=False).statistic)
    assert set(frame.threshold if "threshold" in frame else frame.index.get_level_values(1)) == {
        "Otsu",
        "0.1",
        "0.3",
    }


def test_probability_is_recounted(study: Study, tables: dict) -> None:
    """ΔProb = (after − before)/before, mean over a fact's known queries, then over facts of the class."""
    found, fact = study.interventions, study.column("queries", "fact")
    cs2 = consistency(study.neurons())["CS2"].values
    used = considered(study)
    classes = {"all": np.ones(40, dtype=bool), "K_C": cs2 >= 0.3, "K_I": cs2 < 0.3}
    for row in tables["chen_probability"].to_dict("records"):
        after = (
            found["log_probability"].sel(operation=row["operation"], neuron_set="own").values.astype(float)
        )
        change = np.exp(after - found["base_log_probability"].values.astype(float)) - 1
        kept = used & ~np.isnan(change)
        facts = [f for f in range(40) if classes[row["class"]][f] and (kept & (fact == f)).any()]
        assert row["facts"] == len(facts) > 0
        expected = np.mean([change[kept & (fact == f)].mean() for f in facts])
        assert row["probability_own"] == pytest.approx(expected, rel=1e-5)  # stored as float32


def test_modification_is_recounted(study: Study, tables: dict) -> None:
    """Rel of an update: share of facts whose edited query answers o′; averages of three scores."""
    edits, used = study.edits, considered(study)
    frame = tables["chen_cas"]
    first = study.column("facts", "first_query")
    edited = edits["edited_query"].values
    for name in ("own", "union", "cas"):
        rank = edits["new_rank"].sel(edit_operation="update", edit_set=name).values
        log_p = edits["new_log_probability"].sel(edit_operation="update", edit_set=name).values
        done = [
            rank[f, edited[f] - first[f]] == 1
            for f in range(40)
            if edited[f] >= 0 and used[edited[f]] and not np.isnan(log_p[f, edited[f] - first[f]])
        ]
        row = frame[(frame.operation == "update") & (frame.set == name)].iloc[0]
        assert row.reliability == pytest.approx(np.mean(done))
        assert row.facts == len(done)
        three = [row.reliability, row.generalization, row.locality]
        assert row.average == pytest.approx(np.mean(three))
        assert row.harmonic == pytest.approx(stats.hmean(three))
    classes = tables["chen_modification"]
    whole = classes[classes["class"] == "all"].set_index(["operation", "set"]).facts
    parts = classes[classes["class"] != "all"].groupby(["operation", "set"]).facts.sum()
    assert (parts <= whole.loc[parts.index]).all()
    assert set(classes["set"]) == {"own", "union"}


def test_synapses_are_those_of_their_effects(study: Study, tables: dict) -> None:
    expected = synapse_effects(study, outcome="activation")
    for row in tables["chen_synapses"].itertuples():
        values = expected.sel(synapse_operation=row.operation, synapse_set=row.synapses).values
        assert row.activation == pytest.approx(np.nanmean(values))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="qloc")


def test_the_printed_plan_is_a_plan(tmp_path: Path) -> None:
    page = run("reproduce", "chen", "--print-plan")
    assert page.exit_code == 0
    (tmp_path / "chen.yaml").write_text(page.stdout)
    plan = plan_from(tmp_path / "chen.yaml")
    assert isinstance(plan, Plan)
    assert plan.edits is not None
    assert (plan.quadrature, plan.edits.scale, plan.edits.lambda2) == ("right", "none", 2.0)
    assert plan.phases == ("signals", "interventions", "edits")


def test_command_makes_tables_that_report_renders(tmp_path: Path) -> None:
    simulate(tmp_path / "s.zarr", facts=20, relations=2, templates=4, n_neurons=16, seed=1)
    page = run("reproduce", "chen", tmp_path / "s.zarr", "--out", tmp_path / "r")
    assert page.exit_code == 0, page.output
    assert "0 of its 24 published values are on file." in " ".join(page.stdout.split())
    report = run("report", tmp_path / "r", "--format", "md", "--out", tmp_path / "r.md")
    assert report.exit_code == 0, report.output
    assert "Welch's t" in (tmp_path / "r.md").read_text()


def test_without_a_store_there_is_nothing_to_make() -> None:
    nothing = run("reproduce", "chen")
    assert (nothing.exit_code, nothing.stderr) == (
        2,
        "Error: stores is []; expected one store at least. At qloc reproduce. "
        "Give one, or --print-plan for the plan that makes it.\n",
    )


def test_single_facts_are_shown_of_each_model(study: Study) -> None:
    alone = reproduce(study, LAYOUTS[:1], published("chen"), PLAN, further=single_facts)
    assert [question.id for question in alone.questions] == ["chen_ratio", "heatmap", "settings"]
    names = [table.name for table in alone.questions[1].tables]
    assert names[:3] == ["heatmap_most_consistent", "heatmap_typical", "heatmap_least_consistent"]
    both = reproduce(
        Studies({"a": study, "b": study}), LAYOUTS[:1], published("chen"), PLAN, further=single_facts
    )
    assert [question.id for question in both.questions][1:3] == ["heatmap_1", "heatmap_2"]
    assert both.questions[2].title.endswith("(b)")
    assert [table.name for table in both.questions[2].tables] == [f"{name}_2" for name in names]
