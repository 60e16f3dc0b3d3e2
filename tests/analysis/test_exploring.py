"""Explorations of studies: every value is that of the store; samples hold the extremes and every relation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from viewed_study import viewed

from qloc.analysis.exploring import N_COLUMNS, SCORES, chosen_facts, explore
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.exploration.exploration import Exploration
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def mixed() -> Study:
    """Give a study of two relations' facts and one paradigm's groups of minimal pairs."""
    study = simulate(facts=30, relations=3, templates=4, seed=2)
    pair = study.column("queries", "relation") == study.column("facts", "relation")[-1]
    kind = np.where(pair, "minimal_pair", "fact")
    log_p = study.column("queries", "log_probability")
    bad = np.where(study.column("queries", "known") == 1, log_p - 1, log_p + 1)
    queries = study.queries.assign(kind=("query", kind), bad_log_probability=("query", bad))
    return replace(study, datasets={**study.datasets, "queries": queries})


@pytest.fixture(scope="module")
def explored(changed_study: Study) -> Exploration:
    return explore(changed_study)


def rows_of(study: Study, explored: Exploration) -> list[int]:
    """Return the row in the store of each fact: those whose answer is in their subject are not explored."""
    ids = study.column("facts", "id").tolist()
    return [ids.index(fact.id) for fact in explored.facts]


def queries_of(study: Study, explored: Exploration) -> list[int]:
    """Return the row in the store of each query."""
    of_fact = study.column("queries", "fact")
    return [int(query) for row in rows_of(study, explored) for query in np.flatnonzero(of_fact == row)]


def test_queries_are_those_of_the_store(changed_study: Study, explored: Exploration) -> None:
    sets = changed_study.neurons()
    prompts = changed_study.column("queries", "prompt")
    queries = [query for fact in explored.facts for query in fact.queries]
    rows = queries_of(changed_study, explored)
    assert [query.prompt for query in queries] == prompts[rows].tolist()
    assert [set(query.neurons) for query in queries] == [set(sets.of(n)) for n in rows]
    for query in queries:
        assert list(query.strengths) == sorted(query.strengths, reverse=True)
        assert all(strength >= 20 for strength in query.strengths)
    assert [query.known for query in queries] == sets.queries["known"][rows].tolist()


def test_tokens_are_those_of_the_neurons_that_are_shown(changed_study: Study, explored: Exploration) -> None:
    assert (explored.words, explored.tokens) == ((), ())
    here = sorted({n for fact in explored.facts for query in fact.queries for n in query.neurons})
    sets = changed_study.neurons()
    dims, shape = ("layer", "neuron", "place"), (sets.n_layers, sets.n_neurons, 10)
    ids = np.full(shape, -1, dtype=np.int32)
    ids.reshape(-1, 10)[here[:2], :2] = [[3, 1], [1, 0]]
    tokens = xr.Dataset(
        {
            "promoted_token_id": (dims, ids),
            "suppressed_token_id": (dims, ids[..., ::-1].copy()),
            "token": ("vocabulary", np.array([" b", "a\x1b", "elsewhere", " b"], dtype=object)),
        }
    )
    study = replace(changed_study, datasets={**changed_study.datasets, "neurons": tokens})
    found = explore(study, n_facts=len(explored.facts))
    assert found.words == (" b", "a\\x1b")
    assert found.tokens == ((here[0], (0, 1), (1, 0)), (here[1], (1, 0), (0, 1)))
    assert found.facts == explored.facts


def test_scores_and_states_are_those_of_the_analysis(changed_study: Study, explored: Exploration) -> None:
    scores = consistency(changed_study.neurons())
    for row, fact in zip(rows_of(changed_study, explored), explored.facts, strict=True):
        if fact.id in explored.pairs:
            continue
        for name, value in zip(SCORES, fact.scores, strict=True):
            expected = float(scores[name].values[row])
            assert value is None if math.isnan(expected) else value == pytest.approx(expected, abs=5.01e-4)
        cs2 = float(scores["CS2"].values[row])
        assert fact.inconsistent == (None if math.isnan(cs2) else cs2 < 0.1)


def test_heatmaps_hold_what_is_stored_for_these_neurons(changed_study: Study, explored: Exploration) -> None:
    panel = changed_study.signals["panel_neuron"].values
    attribution = changed_study.attribution.isel(attribution_method=0).values
    maximum = changed_study.signals["maximum"].isel(attribution_method=0).values.max(axis=-1)
    activation = changed_study.signals["activation"].values
    first_query = changed_study.column("facts", "first_query")
    for row, fact in list(zip(rows_of(changed_study, explored), explored.facts, strict=True))[:5]:
        assert 0 < len(fact.columns) <= N_COLUMNS
        assert list(fact.columns) == sorted(fact.columns)
        slots = [panel[row].tolist().index(neuron) for neuron in fact.columns]
        for n in range(len(fact.queries)):
            query = int(first_query[row]) + n
            expected = np.rint(100 * attribution[query, slots].astype(float) / maximum[query])
            assert list(fact.attribution[n]) == expected.tolist()
            if fact.activation:
                kept = np.array(fact.activation[n], dtype=float)
                assert np.allclose(kept, activation[query, slots], atol=5.1e-3, equal_nan=True)


def test_arms_are_means_over_known_queries(changed_study: Study, explored: Exploration) -> None:
    here = changed_study.interventions
    known = changed_study.column("queries", "known") == 1
    of_fact = changed_study.column("queries", "fact") == rows_of(changed_study, explored)[0]
    before = here["base_log_probability"].values[known & of_fact].astype(float)
    place = explored.arms.index("suppress, own")
    after = here["log_probability"].sel(operation="suppress", neuron_set="own").values[known & of_fact]
    odds = [p - math.log(-math.expm1(p)) for p in after.astype(float)]
    base = [p - math.log(-math.expm1(p)) for p in before]
    change, share = explored.facts[0].arms[place]
    assert change == pytest.approx(np.nanmean(np.subtract(odds, base)), abs=6e-3)
    assert share == pytest.approx(100 * np.nanmean(np.exp(after) - np.exp(before)), abs=0.06)


def test_the_surest_queries_count_in_changes_of_log_odds(changed_study: Study, explored: Exploration) -> None:
    """log P = 0 in float32 is P within 2⁻²⁴ of 1, as in the report's tables; it was left out."""
    here = changed_study.interventions.load()
    row = rows_of(changed_study, explored)[0]
    known = (changed_study.column("queries", "known") == 1) & (changed_study.column("queries", "fact") == row)
    sure = here.assign(
        base_log_probability=here["base_log_probability"].where(~known, 0.0),
        log_probability=here["log_probability"].where(~known, np.log(0.5)),
    )
    study = replace(changed_study, datasets={**changed_study.datasets, "interventions": sure})
    change, share = explore(study).facts[0].arms[explored.arms.index("suppress, own")]
    assert change == pytest.approx(-math.log(2**24 - 1), abs=6e-3)
    assert share == -50.0


def test_edits_are_those_of_the_edited_query(edited_study: Study) -> None:
    explored = explore(edited_study)
    here = edited_study.edits
    n = next(n for n, fact in enumerate(explored.facts) if fact.edits)
    row, fact = rows_of(edited_study, explored)[n], explored.facts[n]
    place = explored.edits.index("update, own")
    query = int(here["edited_query"].values[row]) - int(edited_study.column("facts", "first_query")[row])
    after = here.isel(fact=row, query_of_fact=query).sel(edit_operation="update", edit_set="own")
    change, before_rank, after_rank = fact.edits[place]
    assert (before_rank, after_rank) == (int(after["base_new_rank"]), int(after["new_rank"]))
    assert change == pytest.approx(float(after["log_probability"] - after["base_log_probability"]), abs=6e-3)
    assert fact.new_object == str(here["new_object"].values[row])


def test_shared_counts_facts_with_the_neuron(changed_study: Study, explored: Exploration) -> None:
    assert dict(explored.shared) == shared_by(changed_study, "fact")
    assert explored.n_pairs == len(explored.pairs) == 4
    assert explored.n_facts == len(explored.facts) - 4
    assert dict(explored.shared_by_pairs) == shared_by(changed_study, "minimal_pair")


def test_groups_of_minimal_pairs_have_scores_and_counts_of_their_own(mixed: Study) -> None:
    """Each kind is counted among itself, with its own denominator, as in the report's tables."""
    found, sets = explore(mixed), mixed.neurons()
    is_pair = sets.queries["kind"] == "minimal_pair"
    alone = {kind: consistency(sets.select(is_pair == kind)) for kind in (False, True)}
    groups = {str(name) for name in sets.facts["id"][np.unique(sets.queries["fact"][is_pair])]}
    assert set(found.pairs) == groups & {fact.id for fact in found.facts}
    for row, fact in zip(rows_of(mixed, found), found.facts, strict=True):
        for name, value in zip(SCORES, fact.scores, strict=True):
            expected = float(alone[fact.id in groups][name].values[row])
            assert value is None if math.isnan(expected) else value == pytest.approx(expected, abs=5.01e-4)
    assert any(fact.inconsistent is not None for fact in found.facts if fact.id in groups)
    assert (found.n_facts, found.n_pairs) == (len(found.facts) - len(found.pairs), len(found.pairs))
    assert dict(found.shared) == shared_by(mixed, "fact")
    assert dict(found.shared_by_pairs) == shared_by(mixed, "minimal_pair")
    said = f"All {found.n_facts} facts and {found.n_pairs} groups of minimal pairs of the study that do not "
    assert found.choice.startswith(said)
    few = explore(mixed, n_facts=12).choice
    assert few.startswith(
        f"12 of the study's {found.n_facts} facts and {found.n_pairs} groups of minimal pairs: "
    )
    assert "the least and the most consistent facts (CS2)" in few


def shared_by(study: Study, kind: str) -> dict[int, int]:
    """Count the facts, or groups, of one kind that have a neuron in the set of a known query."""
    sets = study.neurons()
    leaks = sets.facts["leaks"][sets.queries["fact"]]
    of_neuron: dict[int, set[int]] = {}
    for query in np.flatnonzero(sets.queries["known"] & ~leaks & (sets.queries["kind"] == kind)).tolist():
        for neuron in sets.of(query).tolist():
            of_neuron.setdefault(neuron, set()).add(int(sets.queries["fact"][query]))
    return {neuron: len(facts) for neuron, facts in of_neuron.items()}


def test_a_sample_has_the_extremes_and_relations_in_proportion() -> None:
    relation = np.repeat([0, 1, 2], [600, 300, 100])
    score = np.random.default_rng(3).permutation(1000) / 1000
    rows = chosen_facts(score, relation, np.arange(1000), 100, seed=5)
    assert len(np.unique(rows)) == 100
    assert set(np.argsort(score)[:10]) | set(np.argsort(score)[-10:]) <= set(rows.tolist())
    drawn = np.setdiff1d(rows, np.concatenate([np.argsort(score)[:10], np.argsort(score)[-10:]]))
    assert np.abs(np.bincount(relation[drawn], minlength=3) - [48, 24, 8]).max() <= 1
    assert np.array_equal(rows, chosen_facts(score, relation, np.arange(1000), 100, seed=5))
    assert not np.array_equal(rows, chosen_facts(score, relation, np.arange(1000), 100, seed=6))


def test_a_sample_says_that_it_is_one(changed_study: Study, explored: Exploration) -> None:
    few = explore(changed_study, n_facts=5)
    assert (len(few.facts), few.n_facts) == (5, explored.n_facts)
    assert few.choice.startswith(f"5 of the study's {explored.n_facts} facts and 4 minimal pairs: ")
    assert few.text() == explore(changed_study, n_facts=5).text()
    same = {fact.id: fact for fact in explored.facts}
    assert all(fact == same[fact.id] for fact in few.facts)


def test_a_dense_study_is_explored_alike(dense_study: Study) -> None:
    explored = explore(dense_study)
    sets = dense_study.neurons()
    queries = [query for fact in explored.facts for query in fact.queries]
    assert [set(query.neurons) for query in queries] == [
        set(sets.of(n)) for n in queries_of(dense_study, explored)
    ]


def test_viewed_facts_have_their_neurons_after_and_attention() -> None:
    study = simulate(facts=20, relations=2, templates=4, seed=6)
    row = int(np.flatnonzero(study.column("facts", "leaks") == 0)[3])
    found = explore(viewed(study, [row]))
    (fact,) = (fact for fact in found.facts if fact.activation_after)
    assert fact.id == study.column("facts", "id")[row]
    for before, after in zip(fact.activation, fact.activation_after, strict=True):
        assert len(before) == len(after) == len(fact.columns)
        for was, now in zip(before, after, strict=True):
            assert now is None or (was is not None and abs(now - was / 2) <= 0.01)
    assert fact.product == fact.product_after
    assert max(value for values in fact.product for value in values if value is not None) == 100
    for query in fact.queries:
        for _, _, shares, synapses in query.attention:
            assert len(shares) == len(query.tokens)
            assert set(synapses) <= set(range(len(shares)))
    assert any(query.attention for query in fact.queries)
    others = [query for other in found.facts if other is not fact for query in other.queries]
    assert not any(query.attention for query in others)
