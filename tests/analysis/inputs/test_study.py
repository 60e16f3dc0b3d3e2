"""Study: groups, columns, and the sets that are selected from them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.inputs.study import Study
from qloc.errors import InputError
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate


def same(a, b) -> bool:
    return a.member.shape == b.member.shape and (a.member != b.member).nnz == 0


def test_sets_are_those_planted():
    planting: dict[str, Any] = {
        "facts": 20,
        "relations": 2,
        "templates": 3,
        "n_neurons": 64,
        "pairs": 4,
        "seed": 3,
    }
    expected, found = plant(**planting).sets(), simulate(**planting).neurons()
    assert same(expected, found)
    for name in ("fact", "template", "relation", "answer", "kind", "known"):
        assert found.queries[name].tolist() == expected.queries[name].tolist()
    for name in ("id", "subject", "relation", "object", "leaks", "class"):
        assert found.facts[name].tolist() == expected.facts[name].tolist()
    assert found.rule == "threshold 0.2"


def test_several_thresholds_are_those_of_one_at_a_time(study):
    several = list(study.neurons_at([0.3, 0.1], "grad_x_act"))
    assert [sets.rule for sets in several] == ["threshold 0.3", "threshold 0.1"]
    assert all(
        same(sets, study.neurons("grad_x_act", t)) for sets, t in zip(several, (0.3, 0.1), strict=True)
    )
    assert list(study.neurons_at([])) == []


def test_what_a_study_has_is_told(study, dense_study):
    assert (study.methods, study.dense, dense_study.dense) == (("ig", "grad_x_act"), False, True)
    assert study.phases == ("signals",)
    assert Study({**study.datasets, "edits": study.facts}).phases == ("signals", "edits")
    assert study.complete
    assert Study({}).fingerprint == ""


def test_threshold_and_budget_exclude_each_other(study):
    with pytest.raises(InputError) as caught:
        study.neurons("ig", 0.2, top=5)
    assert str(caught.value) == (
        "neurons is 'threshold=0.2, top=5'; expected a threshold or a budget. At Study. Drop one."
    )


def test_missing_groups_are_named(study):
    bare = Study({"facts": study.facts})
    with pytest.raises(InputError) as caught:
        _ = bare.queries
    assert str(caught.value) == "group is 'queries'; expected one of facts. At study. Extract it first."
    assert not bare.attention
    assert not bare.grams


def test_selection_by_relation_and_template(study):
    relation = study.attribution.sel(relation="R01")
    assert relation.sizes["query"] == int(np.sum(study.queries["relation"].values == "R01"))
    assert set(study.signals.sel(template="R02-3")["relation"].values) == {"R02"}


def test_a_user_can_bring_datasets_of_any_make(study):
    """Strings as objects, as a store gives them."""
    queries = study.queries.assign(
        {name: study.queries[name].astype(object) for name in ("template", "relation", "answer")}
    )
    found = Study({**study.datasets, "queries": queries}, study.attrs).neurons()
    assert found.queries["relation"].dtype.kind == "U"
    assert study.fingerprint == study.attrs["fingerprint"]
    assert Study({}, {"fingerprint": {"signals": "abc"}}).fingerprint == "abc"


def test_a_study_shows_itself_in_a_line(study):
    n_facts, n_queries = study.facts.sizes["fact"], study.queries.sizes["query"]
    assert repr(study).startswith(
        f"<Study of planted on planted template, answer and fact neurons: {n_facts} facts, {n_queries} queries; "
        "methods ig"
    )
    assert repr(replace(study, complete=False)).endswith("; unfinished>")


def test_pairs_are_known_where_good_is_likelier(study):
    """Whatever the good form's rank is; phases are chosen from what the store says."""
    kind, facts = study.column("queries", "kind"), study.column("queries", "known")
    kind = np.where(study.column("queries", "fact") % 2 == 0, "minimal_pair", kind)
    log_p = study.column("queries", "log_probability")
    bad = np.where(np.arange(len(log_p)) % 3 == 0, log_p - 1, log_p + 1)
    queries = study.queries.assign(kind=("query", kind), bad_log_probability=("query", bad))
    groups = {**study.datasets, "queries": queries}
    expected = np.where(kind == "minimal_pair", log_p > bad, facts == 1)
    for known in (
        Study(groups, study.attrs).column("queries", "known") == 1,
        Study(groups, study.attrs).queries["known"].values == 1,
        Study(groups, study.attrs).neurons().queries["known"],
    ):
        assert known.tolist() == expected.tolist()
    stored = Study(groups, study.attrs, pairs_as_stored=True)
    assert stored.column("queries", "known").tolist() == facts.tolist()


def test_a_column_is_read_once_and_is_the_callers_own(counted_reads):
    lazy, reads = counted_reads
    study = Study({"queries": xr.Dataset({"k": ("query", lazy)})})
    study.column("queries", "k")[:] = 7
    assert (study.column("queries", "k").tolist(), len(reads)) == ([0.0, 1.0], 1)
