"""One fact of a study: found by name, and shown with what the store holds of it."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.localization.consistency import consistency
from qloc.analysis.one_fact import SHOWN_SCORES, find, one_facts
from qloc.errors import InputError
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def tiny():
    return simulate(facts=12, relations=2, templates=3, seed=1)


def named(study, **columns):
    """The study with other ids or subjects."""
    facts = study.facts.assign({name: ("fact", np.array(values)) for name, values in columns.items()})
    return replace(study, datasets={**study.datasets, "facts": facts})


def test_exact_names_go_before_parts(tiny):
    names = ["Paris", "Paris Hilton", "Parisian", "Rome"] + [f"s{n}" for n in range(8)]
    study = named(tiny, subject=names)
    assert find(study, "PARIS").tolist() == [0]
    assert find(study, "pari").tolist() == [0, 1, 2]
    assert find(study, str(study.column("facts", "id")[3])).tolist() == [3]


def test_what_is_not_found_is_refused_with_the_nearest_subject(tiny):
    study = named(tiny, subject=["Paris"] + [f"s{n}" for n in range(11)])
    with pytest.raises(InputError) as raised:
        find(study, "Parsi")
    assert str(raised.value) == (
        "fact is 'Parsi'; expected an id, a subject, or a part of one. At the store's 12 facts. Perhaps Paris."
    )
    with pytest.raises(InputError) as raised:
        find(study, "")
    assert str(raised.value).endswith("Give one, such as Paris or s0 or s1.")


def test_a_fact_is_what_the_store_holds(study):
    sets = study.neurons()
    scores = consistency(sets)
    rows = np.array([0, 5, 44])  # the last a minimal pair
    for row, fact in zip(rows, one_facts(study, rows), strict=True):
        queries = np.flatnonzero(sets.queries["fact"] == row)
        assert fact.id == str(study.column("facts", "id")[row])
        assert [query.prompt for query in fact.queries] == study.column("queries", "prompt")[queries].tolist()
        assert [query.rank for query in fact.queries] == study.column("queries", "rank")[queries].tolist()
        used = [q for q in queries if sets.queries["known"][q] and len(sets.of(q))]
        assert fact.k == len(used)
        own = [set(sets.of(q).tolist()) for q in used]
        assert dict(fact.count) == {n: sum(n in s for s in own) for n in set().union(*own)}
        assert list(fact.count.values()) == sorted(fact.count.values(), reverse=True)
        assert set(fact.intersection) == (set.intersection(*own) if own else set())
        assert list(fact.scores) == list(SHOWN_SCORES)
        for name in SHOWN_SCORES:
            assert fact.scores[name] == pytest.approx(float(scores[name].values[row]), nan_ok=True)
        assert (fact.effects, fact.edited, fact.new_object) == ({}, {}, "")


def test_other_sets_by_threshold_and_method(study):
    (fact,) = one_facts(study, np.array([3]), method="grad_x_act", threshold=0.4)
    assert fact.rule == "grad_x_act, threshold 0.4"
    queries = np.flatnonzero(study.column("queries", "fact") == 3)
    sets = study.neurons("grad_x_act", 0.4)
    assert [query.neurons.tolist() for query in fact.queries] == [sets.of(q).tolist() for q in queries]


def test_effects_are_means_over_the_queries(changed_study):
    arms = changed_study.interventions
    change = arms["log_probability"] - arms["base_log_probability"]
    (fact,) = one_facts(changed_study, np.array([7]))
    queries = np.flatnonzero(changed_study.column("queries", "fact") == 7)
    for operation, sets in fact.effects.items():
        for name, value in sets.items():
            values = change.sel(operation=operation, neuron_set=name).values[queries]
            assert value == pytest.approx(np.nanmean(values))
    assert {"own", "neighbor", "union", "other_fact", "matched"} >= set(fact.effects["suppress"])


def test_ranks_of_an_edit_are_those_of_the_edited_query(edited_study):
    edits = edited_study.edits
    row = int(np.flatnonzero(edits["edited_query"].values >= 0)[2])
    place = int(edits["edited_query"].values[row] - edited_study.column("facts", "first_query")[row])
    (fact,) = one_facts(edited_study, np.array([row]))
    assert fact.new_object == str(edits["new_object"].values[row])
    after = edits["new_rank"].sel(edit_operation="update").values[:, row, place]
    before = int(edits["base_new_rank"].values[row, place])
    expected = {
        str(name): (before, int(rank))
        for name, rank in zip(edits["edit_set"].values, after, strict=True)
        if rank > 0
    }
    assert fact.edited == expected
    erased = edits.sel(edit_operation=["erase"])
    (other,) = one_facts(
        replace(edited_study, datasets={**edited_study.datasets, "edits": erased}), np.array([row])
    )
    assert (other.new_object, other.edited) == ("", {})


def test_a_group_of_pairs_beside_facts_has_scores_of_its_own():
    """Facts' scores leave pairs out where there are facts."""
    study = simulate(facts=8, relations=2, templates=4, seed=1)
    fact, kind = study.column("queries", "fact"), study.column("queries", "kind")
    known = study.column("queries", "log_probability")
    syntax = fact >= 6
    queries = study.queries.assign(
        kind=("query", np.where(syntax, "minimal_pair", kind)),
        bad_log_probability=("query", np.where(syntax, known - 1, np.nan)),
    )
    mixed = replace(study, datasets={**study.datasets, "queries": queries})
    (shown,) = one_facts(mixed, np.array([7]))
    alone = consistency(mixed.neurons().select(syntax))
    assert shown.k == 4
    assert shown.scores["D"] == alone["D"].values[7]
    assert np.isnan(consistency(mixed.neurons())["D"].values[7])
