"""The tables of Dai et al. 2022: recounted from sets and outcomes, with the baseline of a dense store."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

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


def _tables(study: Study) -> dict[str, pd.DataFrame]:
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


def test_activations_by_brute_force(dense: Study, tables: dict[str, pd.DataFrame]) -> None:
    row = tables["dai_triggers"].set_index("method").loc["ig"]
    sets = dense.neurons("ig", PLAN.threshold)
    member = refined_neurons(sets.known()).member
    leaks = dense.column("facts", "leaks")[sets.queries["fact"]] > 0
    known = np.flatnonzero(sets.queries["known"] & ~leaks)
    values = dense.signals["activation"].values.reshape(sets.n_queries, -1)
    relation = dense.column("facts", "relation")
    by: dict[str, list[float]] = {"own": [], "same_relation": [], "other_relation": []}
    for fact in range(sets.n_facts):
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
    for name, means in by.items():
        assert row[name] == pytest.approx(np.nanmean(means), rel=1e-5)


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
