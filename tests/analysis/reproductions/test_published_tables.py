"""A study's tables: rows and columns by layout, published values beside ours, and what is left out is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.editing.outcomes import edit_scores
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.reproductions.chen_tables import LAYOUTS
from qloc.analysis.reproductions.published import NOT_ON_FILE, Published, Value, published
from qloc.analysis.reproductions.published_tables import (
    PublishedTable,
    Row,
    Side,
    among_labels,
    edit_rows,
    reproduce,
)
from qloc.plan import AnalysisPlan
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate

PLAN = AnalysisPlan(consistency_threshold=0.3)


RATIO = [layout for layout in LAYOUTS if layout.name == "chen_ratio"]
MODIFICATION = [layout for layout in LAYOUTS if layout.name == "chen_modification"]


def _layout(rows: Any, **changed: Any) -> PublishedTable:
    made = {
        "name": "ours",
        "title": "Ours",
        "group": "signals",
        "phase": "signals",
        "shown": ("share",),
        "labels": {"share": "Share"},
        "note": "How to read it.",
    }
    return PublishedTable(rows=rows, **{**made, **changed})


def test_a_table_has_the_rows_of_each_model_and_the_published_cell_beside(study: Study) -> None:
    def rows(side: Side) -> Iterator[Row]:
        yield {"model": side.model, "set": "own", "share": 0.25, "facts": len(side.facts)}
        yield {"model": side.model, "set": "union", "share": 0.75, "facts": 3}

    values = (
        Value(table="ours", row={"set": "union"}, column="share", value=0.5, where="Table 1"),
        Value(table="ours", row={"set": "cas"}, column="share", value=0.1, where="Table 1"),
        Value(table="other", row={"set": "own"}, column="share", value=0.2, where="Table 2"),
    )
    source = Published(title="T", source="S", values=values, missing=("a figure",))
    found = reproduce(study, [_layout(rows)], source)
    assert [question.id for question in found.questions] == ["ours", "settings"]
    question = found.questions[0]
    assert (question.method, question.references) == ("How to read it.", ("S",))
    assert question.answer == "1 of its 2 published values are on file."
    table, beside = question.tables
    assert list(table.columns["share"]) == [0.25, 0.75]
    assert list(table.columns["facts"]) == [40, 3]
    assert {name: list(column) for name, column in beside.columns.items()} == {
        "row": ["planted, own", "planted, union"],
        "value": ["Share", "Share"],
        "ours": [0.25, 0.75],
        "published": [NOT_ON_FILE, 0.5],
    }
    assert found.notes == (
        "Not made: a figure.",
        "The published value of ours, share, set cas matches no cell of ours.",
        "The published value of other, share, set own matches no cell of ours.",
    )


def test_a_layout_without_data_or_rows_is_left_out_and_the_reason_said(study: Study) -> None:
    lacking = replace(study, datasets={key: value for key, value in study.datasets.items() if key != "edits"})
    layouts = [
        _layout(lambda _: iter([{"model": "m", "share": 1.0}]), group="edits", phase="edits"),
        _layout(lambda _: iter([]), name="empty"),
    ]
    found = reproduce(lacking, layouts, Published(title="T", source="S"))
    assert [question.id for question in found.questions] == ["settings"]
    assert found.notes == (
        "Tables that need phase edits are left out: no store has it.",
        "Tables that need phase signals are left out: no fact gives them a row, such as one that is known.",
    )


def test_labels_are_those_of_the_axis_in_the_order_wanted() -> None:
    values = xr.Dataset(coords={"edit_set": ["union", "own", "rome"]})
    assert among_labels(values, "edit_set", ("own", "cas", "union")) == ["own", "union"]


@pytest.fixture(scope="module")
def side(study: Study) -> Side:
    asked = np.arange(study.queries.sizes["query"])
    return Side("m", study, {"ig": study.neurons()}, np.arange(40), asked, PLAN, study.neurons)


def test_classes_split_the_facts_that_have_a_consistency(study: Study, side: Side) -> None:
    cs2 = consistency(study.neurons())["CS2"].values
    expected = {"all": np.ones(40, dtype=bool), "K_C": cs2 >= 0.3, "K_I": cs2 < 0.3}
    for name, among in expected.items():
        np.testing.assert_array_equal(side.classes[name], among, err_msg=name)
        assert among.any()


def test_scores_of_edits_are_means_over_a_class(study: Study, side: Side) -> None:
    """Δ perplexity is exp(mean nats before) · (exp(mean Δ nats) − 1), of the facts that have a Δ."""
    few = np.arange(40) < 7
    classes = {"few": few, "none": np.zeros(40, dtype=bool)}
    found = list(edit_rows(side, ("union", "no such set", "own"), classes))
    scores, base = edit_scores(study).sel(criterion="argmax"), study.edits["base_text_nats"].values
    operations = [str(name) for name in scores["edit_operation"].values]
    assert [(row["operation"], row["set"], row["class"]) for row in found] == [
        (operation, name, "few") for operation in operations for name in ("union", "own")
    ]
    for row in found:
        arm = scores.sel(edit_operation=row["operation"], edit_set=row["set"])
        three = [np.nanmean(arm[name].values[few]) for name in ("reliability", "generalization", "locality")]
        assert [row[name] for name in ("reliability", "generalization", "locality")] == pytest.approx(three)
        assert row["average"] == pytest.approx(sum(three) / 3)
        assert row["harmonic"] == pytest.approx(3 / sum(1 / one for one in three) if min(three) else 0.0)
        nats = arm["nats"].values
        there = few & ~np.isnan(nats)
        assert row["nats"] == pytest.approx(nats[there].mean())
        damage = np.exp(base[there].mean()) * (np.exp(nats[there].mean()) - 1)
        assert row["perplexity"] == pytest.approx(damage, rel=1e-5)
        assert row["relative"] == pytest.approx(damage / np.exp(base[there].mean()), rel=1e-5)
        assert row["facts"] == np.isfinite(arm["reliability"].values[few]).sum()


def test_several_models_stand_side_by_side_on_common_facts(study: Study, size: dict[str, Any]) -> None:
    other = simulate(**size, effects=Effects(), fact_strength=0.5, seed=5)
    result = reproduce(Studies({"a": study, "b": other}), MODIFICATION, published("chen"), PLAN)
    modification = result.question("chen_modification")
    assert modification is not None
    assert set(modification.tables[0].columns["model"]) == {"a", "b"}
    assert result.notes[-1] == "2 models support no claim about larger models, or about models in general."
    assert result.notes[-2].startswith(
        "Neuron sets, flips and tracing are of common queries; means of a fact's "
    )
    signals = reproduce(Studies({"a": study, "b": other}), RATIO, published("chen"), PLAN)
    assert not any(note.startswith("Neuron sets, flips") for note in signals.notes)
    assert not result.tests()


def test_what_the_store_lacks_is_left_out_and_said(study: Study) -> None:
    groups = {name: group for name, group in study.datasets.items() if name not in ("edits", "synapses")}
    result = reproduce(replace(study, datasets=groups), LAYOUTS, published("chen"), PLAN)
    assert [question.id for question in result.questions] == ["chen_ratio", "chen_probability", "settings"]
    assert "Tables that need phase edits are left out: no store has it." in result.notes


def test_settings_unlike_the_published_plan_s_stand_in_a_sentence_for_all_models_that_share_them(
    study: Study,
) -> None:
    odd = replace(study, attrs={**study.attrs, "quadrature": "midpoint"})
    alone = reproduce(odd, RATIO, published("chen"), PLAN).notes
    assert any(
        note.startswith("planted: unlike the published plan, ")
        and "quadrature is midpoint (published: right)" in note
        for note in alone
    )
    both = reproduce(Studies({"a": odd, "b": odd}), RATIO, published("chen"), PLAN).notes
    assert sum("unlike the published plan" in note for note in both) == 1
    assert any(note.startswith("a, b: unlike the published plan, ") for note in both)


def test_published_values_stand_beside_ours_where_they_are_on_file(study: Study, tmp_path: Path) -> None:
    result = reproduce(study, RATIO, published("chen"), PLAN)
    assert "chen_ratio_published" not in {t.name for q in result.questions for t in q.tables}
    path = tmp_path / "mine.yaml"
    path.write_text(
        "chen:\n  title: T\n  source: S\n  settings:\n"
        "    - {name: a, value: 1, where: here, status: ours}\n  values:\n"
        "    - {table: chen_ratio, row: {score: CS2, threshold: Otsu}, column: t, value: 12.5, where: Table 9}\n"
    )
    question = reproduce(study, RATIO, published("chen", path), PLAN).question("chen_ratio")
    assert question is not None
    table = question.table("chen_ratio_published")
    assert table is not None
    frame = table.to_frame()
    on_file = frame[frame.published.map(lambda cell: cell != NOT_ON_FILE)]
    assert on_file[["row", "value", "published"]].values.tolist() == [
        ["planted, ig, CS2, Otsu", "Welch's t", 12.5]
    ]


def test_published_values_that_match_nothing_are_told_and_settings_may_be_missing(
    study: Study, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "chen:\n  title: T\n  source: S\n  values:\n"
        "    - {table: chen_ratio, row: {score: CS2, threshold: Otsu}, column: t, value: 12.5, where: Table 9}\n"
        "    - {table: chen_ratio, row: {score: CS3}, column: t, value: 1.5, where: Table 9}\n"
    )
    result = reproduce(study, RATIO, published("chen", path), PLAN)
    told = [note for note in result.notes if note.startswith("The published value")]
    assert told == ["The published value of chen_ratio, t, score CS3 matches no cell of ours."]
    settings = result.question("settings")
    assert settings is not None
    assert settings.answer == "No settings are on file."
