"""The tables of Dai et al. 2022: recounted from sets and outcomes, with the baseline of a dense store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.editing.outcomes import edit_scores
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import intervention_effects
from qloc.analysis.localization.refined_neurons import refined_neurons
from qloc.analysis.reproductions.dai_tables import BASELINE, LAYOUTS
from qloc.analysis.reproductions.published import published
from qloc.analysis.reproductions.published_tables import reproduce
from qloc.plan import AnalysisPlan
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate

PLAN = AnalysisPlan()


@pytest.fixture(scope="module")
def dense(size: dict[str, Any]) -> Study:
    return simulate(**size, tier="dense", effects=Effects(), seed=5)


def _tables(study: Study | Studies) -> dict[str, pd.DataFrame]:
    result = reproduce(study, LAYOUTS, published("dai"), PLAN)
    return {table.name: table.to_frame() for question in result.questions for table in question.tables}


@pytest.fixture(scope="module")
def tables(dense: Study) -> dict[str, pd.DataFrame]:
    return _tables(dense)


def test_shared_neurons_by_brute_force(dense: Study, tables: dict[str, pd.DataFrame]) -> None:
    frame = tables["dai_neurons"].set_index("method")
    for method, label in (("ig", "ig"), ("activation", BASELINE)):
        sets = dense.neurons(method, PLAN.threshold).known()
        member = refined_neurons(sets).member
        of = {f: set(member.indices[member.indptr[f] : member.indptr[f + 1]].tolist())
              for f in set(sets.queries["fact"].tolist())}  # fmt: skip
        relation = dense.column("facts", "relation")
        shared: dict[bool, list[int]] = {True: [], False: []}
        for one, other in combinations(sorted(of), 2):
            shared[bool(relation[one] == relation[other])].append(len(of[one] & of[other]))
        row = frame.loc[label]
        assert row.per_fact == pytest.approx(np.mean([len(neurons) for neurons in of.values()]))
        assert (row["within"], row["between"]) == pytest.approx(
            (np.mean(shared[True]), np.mean(shared[False]))
        )
        assert row.facts == len(of)


def _activations(dense: Study, without: Sequence[str] = ()) -> dict[str, float]:
    """Mean activation of refined neurons by kind of prompt, some relations left out, with loops."""
    sets = dense.neurons("ig", PLAN.threshold)
    member = refined_neurons(sets.known()).member
    relation = dense.column("facts", "relation")
    leaks = dense.column("facts", "leaks")[sets.queries["fact"]] > 0
    there = ~np.isin(relation[sets.queries["fact"]], without)
    known = np.flatnonzero(sets.queries["known"] & ~leaks & there)
    values = dense.signals["activation"].values.reshape(sets.n_queries, -1)
    by: dict[str, list[float]] = {"own": [], "same_relation": [], "other_relation": []}
    for fact in np.flatnonzero(~np.isin(relation, without)):
        neurons = member.indices[member.indptr[fact] : member.indptr[fact + 1]]
        if not len(neurons):
            continue
        kinds: dict[str, list[float]] = {name: [] for name in by}
        for query in known:
            of = int(sets.queries["fact"][query])
            same = "same_relation" if relation[of] == relation[fact] else "other_relation"
            kinds["own" if of == fact else same].append(float(values[query, neurons].mean()))
        for name, found in kinds.items():
            by[name].append(float(np.mean(found)) if found else np.nan)
    return {name: float(np.nanmean(means)) for name, means in by.items()}


def test_activations_by_brute_force(dense: Study, tables: dict[str, pd.DataFrame]) -> None:
    row = tables["dai_triggers"].set_index("method").loc["ig"]
    for name, expected in _activations(dense).items():
        assert row[name] == pytest.approx(expected, rel=1e-5)


def test_minimal_pairs_change_nothing_of_facts(dense: Study, tables: dict[str, pd.DataFrame]) -> None:
    """Two relations turned into paradigms: rows of the others, and activations over their prompts alone."""
    relation = dense.column("queries", "relation")
    paradigms = np.unique(relation)[2:]
    kind = np.where(np.isin(relation, paradigms), "minimal_pair", "fact")
    mixed = replace(dense, datasets={**dense.datasets, "queries": dense.queries.assign(kind=("query", kind))})
    found = _tables(mixed)
    keys = ["relation", "operation"]
    change, expected = (t["dai_change"].set_index(keys).sort_index() for t in (found, tables))
    left_out = ["all", *paradigms]
    pd.testing.assert_frame_equal(change.drop("all", level=0), expected.drop(left_out, level=0))
    row = found["dai_triggers"].set_index("method").loc["ig"]
    for name, mean in _activations(dense, without=paradigms.tolist()).items():
        assert row[name] == pytest.approx(mean, rel=1e-5)


def test_of_several_models_common_facts_are_read(dense: Study, tables: dict[str, pd.DataFrame]) -> None:
    """The first relation is asked otherwise in one store: rows of common facts are other ones than the store's."""
    first = str(dense.column("facts", "relation")[0])
    prompts = dense.column("queries", "prompt").astype(str).astype(object)
    prompts[dense.column("queries", "relation") == first] += " again"
    queries = dense.queries.assign(prompt=("query", prompts))
    odd = replace(dense, datasets={**dense.datasets, "queries": queries})
    found = _tables(Studies({"a": dense, "b": odd}))
    for name, labels in (
        ("dai_relations", ["relation", "method"]),
        ("dai_change", ["relation", "operation"]),
    ):
        alone, both = (frame.set_index(labels).sort_index() for frame in (tables[name], found[name]))
        expected = alone.drop([label for label in ("all", first) if label in alone.index], level=0)
        of_a = both[both.model == "a"].drop("all", level=0, errors="ignore")
        pd.testing.assert_frame_equal(of_a.drop(columns="model"), expected.drop(columns="model"))
    triggers = found["dai_triggers"].set_index(["model", "method"])
    for name, mean in _activations(dense, without=[first]).items():
        assert triggers.loc[("b", "ig"), name] == pytest.approx(mean, rel=1e-5)
    success = edit_scores(dense)["reliability"].sel(criterion="argmax", edit_set="refined")
    here = success.sel(edit_operation="erase").values[dense.column("facts", "relation") != first]
    edits = found["dai_edits"].set_index(["model", "operation", "set"])
    assert edits.loc[("a", "erase", "refined"), "success"] == pytest.approx(np.nanmean(here))


def test_changes_and_edits_are_means_over_facts(dense: Study, tables: dict[str, pd.DataFrame]) -> None:
    effects = intervention_effects(dense, measure="probability")
    change = tables["dai_change"].set_index(["operation", "relation"])
    own = effects.sel(operation="suppress", neuron_set="refined").values
    assert change.loc[("suppress", "all"), "probability_refined"] == pytest.approx(np.nanmean(own))
    name = str(dense.column("facts", "relation")[0])
    here = dense.column("facts", "relation") == name
    assert change.loc[("suppress", name), "probability_refined"] == pytest.approx(np.nanmean(own[here]))
    edits = tables["dai_edits"].set_index(["operation", "set"])
    scores = edit_scores(dense)["reliability"].sel(criterion="argmax", edit_set="refined")
    for operation in ("erase", "update"):
        expected = np.nanmean(scores.sel(edit_operation=operation).values)
        assert edits.loc[(operation, "refined"), "success"] == pytest.approx(expected)
    erased = edits.loc[[("erase", "refined")]]
    assert erased.change.tolist() == pytest.approx(erased.success.tolist())


def test_a_panel_has_no_baseline(study: Study) -> None:
    tables = _tables(study)
    assert tables["dai_neurons"].method.tolist() == ["ig"]
    assert "dai_triggers" not in tables
    assert set(tables["dai_relations"].relation) == set(study.column("facts", "relation").tolist())
    assert (tables["dai_relations"].in_half <= tables["dai_relations"].different).all()
