"""The idioms of xarray on what a study is read as: one row a query or fact, selected and grouped by label."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inputs.selectable import LabelledArray, selectable
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import values_of
from qloc.analysis.localization.consistency import consistency

ALONG_QUERIES = ("queries", "answers", "signals", "interventions", "synapses", "reprompts")
ALONG_FACTS = ("facts", "grams", "edits")


@pytest.fixture(scope="module")
def scores(changed_study: Study) -> xr.Dataset:
    return consistency(changed_study.neurons())


@pytest.mark.parametrize("name", [*ALONG_QUERIES, *ALONG_FACTS])
def test_every_group_is_selected_by_relation(changed_study, name):
    dim, of = ("query", "queries") if name in ALONG_QUERIES else ("fact", "facts")
    group = getattr(changed_study, name)
    relation = changed_study.column(of, "relation")
    assert group.sel(relation="R02").sizes[dim] == np.sum(relation == "R02")
    assert set(group.sel(relation="R02")["relation"].values) == {"R02"}


def test_a_fact_is_selected_by_subject_and_id(changed_study, scores):
    id, subject = (changed_study.column("facts", name)[7] for name in ("id", "subject"))
    for labelled in (changed_study.facts, scores):
        assert labelled.sel(id=id)["subject"].item() == subject
        assert labelled.sel(subject=subject)["id"].item() == id


def test_means_of_a_relation_are_of_its_facts(changed_study, scores):
    relation = changed_study.column("facts", "relation")
    named = [f"R0{number}" for number in range(1, 7)]
    by_hand = {name: np.nanmean(scores.kappa.values[relation == name]) for name in named}
    assert scores.sel(relation="R03").kappa.mean().item() == pytest.approx(by_hand["R03"])
    assert scores.kappa.sel(relation="R03").mean().item() == pytest.approx(by_hand["R03"])
    grouped = scores.kappa.groupby("relation").mean()
    assert {name: grouped.sel(relation=name).item() for name in named} == pytest.approx(by_hand)
    of_relation = scores.D0.sel(relation="R03").values
    assert set(of_relation) == {of_relation[0]}  # a relation's facts have its D₀


def test_tables_have_one_row_each_and_every_label(changed_study, scores):
    n_queries, n_facts = changed_study.neurons().n_queries, changed_study.neurons().n_facts
    queries, facts = changed_study.queries.to_dataframe(), changed_study.facts.to_dataframe()
    assert (len(queries), len(facts), len(scores.to_dataframe())) == (n_queries, n_facts, n_facts)
    assert {"relation", "template", "prompt", "known"} <= set(queries)
    assert {"id", "subject", "relation", "object", "class"} <= set(facts)
    assert {"id", "subject", "relation", "object", "kappa", "D0"} <= set(scores.to_dataframe())
    of_kappa = scores.kappa.to_dataframe()
    assert of_kappa["relation"].tolist() == facts["relation"].tolist()
    means = of_kappa.groupby("relation")["kappa"].mean()
    assert means["R03"] == pytest.approx(scores.sel(relation="R03").kappa.mean().item())
    attribution = changed_study.attribution.isel(slot=0, attribution_method=0).to_dataframe()
    assert attribution["relation"].tolist() == queries["relation"].tolist()
    assert len(changed_study.reprompts.to_dataframe()) == n_queries


def test_what_has_further_dimensions_is_beside_the_table(changed_study):
    stored = set(changed_study.datasets["queries"].data_vars)
    table, further = set(changed_study.queries.variables), set(changed_study.answers.data_vars)
    assert stored == (table | further)
    assert further == {
        *("answer_token_id", "target_position", "token_log_probability", "token_rank"),
        *("top_token_id", "top_log_probability", "candidate_log_probability"),
    }
    assert "candidate" not in changed_study.queries.dims


def test_several_models_are_selected_alike(changed_study):
    both = Studies({"a": changed_study, "b": changed_study})
    scores, one = both.consistency(known=False), consistency(changed_study.neurons(), known=False)
    assert scores.sel(relation="R03", model="b").kappa.mean().item() == pytest.approx(
        one.sel(relation="R03").kappa.mean().item()
    )
    assert len(scores.to_dataframe()) == 2 * one.sizes["fact"]
    assert set(both.queries.sel(relation="R03")["relation"].values) == {"R03"}
    assert set(both.facts.sel(relation="R03")["relation"].values) == {"R03"}


def test_labels_that_are_an_index_already_stay():
    group = xr.Dataset({"k": ("fact", [1, 2])}, {"relation": ("fact", ["b", "a"])}).set_xindex("relation")
    again = selectable(group, "fact", {"relation": ["x", "y"], "id": ["f", "g"]})  # type: ignore[dict-item]
    assert again.sel(relation="a").id.item() == "g"
    assert isinstance(again.k, LabelledArray)
    assert again.k.to_dataframe("n").columns.tolist() == ["relation", "id", "n"]


def test_what_is_loaded_once_is_kept(counted_reads):
    """A chunk of a store holds all arms: read for each of them, it would be most of an analysis."""
    lazy, reads = counted_reads
    group = selectable(xr.Dataset({"k": ("fact", lazy)}), "fact", {"id": np.array(["f", "g"])})
    for _ in range(2):
        assert group["k"].load().values.tolist() == values_of(group, "k").tolist() == [0.0, 1.0]
    assert (len(reads), type(group["k"])) == (1, LabelledArray)
