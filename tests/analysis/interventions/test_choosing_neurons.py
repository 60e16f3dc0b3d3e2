"""The sets of every arm: by their definitions, from a planted study, unit by unit."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.choosing_neurons import Chooser, certain_sets
from qloc.analysis.interventions.viewed_facts import viewed_facts
from qloc.analysis.localization.refined_neurons import refined_neurons
from qloc.arms import Arms
from qloc.block import Unit
from qloc.errors import FloorError
from qloc.phase_plan import NEURON_SETS, REPROMPT_SETS, InterventionPlan
from qloc.simulation.simulate import simulate

THRESHOLD = 0.2
SETS = tuple(name for name in NEURON_SETS if name not in (*REPROMPT_SETS, "matched"))
"""Those chosen here, in the order of the store; the others are made during extraction."""


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(facts=24, relations=2, templates=5, seed=3)


def _unit(study: Study, first: int, last: int) -> Unit:
    fact = study.column("queries", "fact")
    a, b = np.searchsorted(fact, [first, last])
    return Unit(number=0, first_fact=first, last_fact=last, first_query=int(a), last_query=int(b))


def _chooser(study: Study, **given: object) -> Chooser:
    return Chooser.of(study, InterventionPlan(), seed=0, own=given.get("own", {}))  # type: ignore[arg-type]


def _set(arms: Arms, name: str, row: int) -> set[int]:
    member = arms.sets[name]
    return set(member.indices[member.indptr[row] : member.indptr[row + 1]].tolist())


def test_sets_are_what_they_are_called(study: Study) -> None:
    unit = _unit(study, 3, 9)
    arms, sets = _chooser(study).arms(unit), study.neurons("ig", THRESHOLD)
    assert tuple(arms.sets) == SETS
    fact, answer = sets.queries["fact"], sets.queries["answer"]
    for row, query in enumerate(range(unit.first_query, unit.last_query)):
        own = set(sets.of(int(query)).tolist())
        near, other = int(arms.neighbor[row]), int(arms.other_fact[row])
        assert _set(arms, "own", row) == own
        assert fact[near] == fact[query]
        assert near != query
        assert _set(arms, "neighbor", row) == set(sets.of(near).tolist())
        of_fact = [set(sets.of(int(q)).tolist()) for q in np.flatnonzero(fact == fact[query])]
        filled = [one for one in of_fact if one]
        assert _set(arms, "union", row) == set().union(*filled)
        assert _set(arms, "intersection", row) == set.intersection(*filled)
        if other >= 0:
            assert fact[other] != fact[query]
            assert answer[other] != answer[query]
            for name in ("relation", "template"):
                assert sets.queries[name][other] == sets.queries[name][query]
            assert _set(arms, "other_fact", row) == set(sets.of(other).tolist())


def test_another_object_of_the_subject_is_no_other_fact(study: Study) -> None:
    """Two facts of one subject are asked with the same prompts: nothing would be changed."""
    subjects = study.column("facts", "subject").copy()
    subjects[1::2] = subjects[::2]
    moved = Study({**study.datasets, "facts": study.facts.assign(subject=("fact", subjects))}, study.attrs)
    fact, seen = study.column("queries", "fact"), 0
    for query, other in enumerate(_chooser(moved).arms(_unit(study, 0, 24)).other_fact.tolist()):
        if other >= 0:
            assert subjects[fact[other]] != subjects[fact[query]]
            seen += 1
    assert seen
    plain = _chooser(study).arms(_unit(study, 0, 24)).other_fact
    assert (subjects[fact[plain]] == subjects[fact])[plain >= 0].any()


def test_differences_have_as_many_neurons_in_every_layer_and_are_the_strongest(study: Study) -> None:
    unit = _unit(study, 0, 6)
    arms, sets = _chooser(study).arms(unit), study.neurons("ig", THRESHOLD)
    signals = study.signals_of("ig")
    seen = 0
    for row, query in enumerate(range(unit.first_query, unit.last_query)):
        own, near = set(sets.of(int(query)).tolist()), set(sets.of(int(arms.neighbor[row])).tolist())
        here, there = _set(arms, "own_minus_neighbor", row), _set(arms, "neighbor_minus_own", row)
        assert here <= own - near
        assert there <= near - own
        for layer in range(sets.n_layers):
            inside = [{n for n in s if n // sets.n_neurons == layer} for s in (own - near, near - own)]
            wanted = min(map(len, inside))
            assert [sum(n // sets.n_neurons == layer for n in s) for s in (here, there)] == [wanted] * 2
        _, values, panel = signals.rows(np.array([query]))
        strength = dict(zip(panel[0].tolist(), values[0].tolist(), strict=True))
        for layer in range(sets.n_layers):
            kept = [strength[n] for n in here if n // sets.n_neurons == layer]
            cut = [strength[n] for n in (own - near) - here if n // sets.n_neurons == layer]
            assert not kept or not cut or min(kept) >= max(cut)
        seen += len(here)
    assert seen


def test_known_queries_are_asked_again_at_most_two_of_a_fact(study: Study) -> None:
    facts = study.facts.assign(leaks=("fact", (np.arange(24) == 5).astype(np.int8)))
    study = Study({**study.datasets, "facts": facts}, study.attrs)
    whole = _chooser(study).arms(_unit(study, 0, 24)).again
    part = _chooser(study).arms(_unit(study, 6, 12)).again
    assert whole is not None
    assert part is not None
    sets = study.neurons("ig", THRESHOLD)
    _, values, panel = study.signals_of("ig").rows(np.arange(sets.n_queries))
    fact, sizes = sets.queries["fact"], np.diff(whole.indptr)
    for number in range(24):
        here = fact == number
        usable = here & sets.queries["known"] & (sets.sizes() > 0)
        few = 0 if number == 5 or np.sum(here & (sets.sizes() > 0)) < 2 else min(2, usable.sum())
        assert np.sum(sizes[here] > 0) == few
        assert not sizes[here & ~usable].any()
    for query in np.flatnonzero(sizes):
        row = slice(whole.indptr[query], whole.indptr[query + 1])
        strength = dict(zip(panel[query].tolist(), values[query].tolist(), strict=True))
        assert whole.indices[row].tolist() == sets.of(int(query)).tolist()
        assert whole.data[row].tolist() == [strength[n] for n in whole.indices[row].tolist()]
    first = _unit(study, 6, 12).first_query
    np.testing.assert_array_equal(whole[first : first + part.shape[0]].toarray(), part.toarray())
    none = InterventionPlan(sets=("own", "neighbor"))
    assert Chooser.of(study, none, seed=0, own={}).arms(_unit(study, 0, 2)).again is None


def test_the_strongest_are_exact_or_fewer(study: Study) -> None:
    unit = _unit(study, 0, 24)
    arms, signals = _chooser(study).arms(unit), study.signals_of("ig")
    _, values, panel = signals.rows(np.arange(unit.first_query, unit.last_query))
    for row in range(len(values)):
        order = sorted(range(values.shape[1]), key=lambda s: (-np.nan_to_num(values[row, s]), panel[row, s]))
        bar = 0.05 * signals.maximum[unit.first_query + row]
        exact = [int(panel[row, s]) for s in order[:20] if panel[row, s] >= 0 and values[row, s] >= bar]
        assert _set(arms, "top", row) == set(exact)


def test_arms_do_not_depend_on_the_unit_and_are_seeded(study: Study) -> None:
    whole = _chooser(study).arms(_unit(study, 0, 24))
    part = _chooser(study).arms(_unit(study, 6, 12))
    first = _unit(study, 6, 12).first_query
    run = slice(first, first + len(part.neighbor))
    np.testing.assert_array_equal(whole.neighbor[run], part.neighbor)
    np.testing.assert_array_equal(whole.other_fact[run], part.other_fact)
    for name in SETS:
        np.testing.assert_array_equal(whole.sets[name][run].toarray(), part.sets[name].toarray())
    other = Chooser.of(study, InterventionPlan(), seed=1, own={}).arms(_unit(study, 0, 24))
    assert (other.neighbor != whole.neighbor).any()


def test_users_sets_come_behind(study: Study) -> None:
    name = str(study.column("facts", "id")[1])
    arms = _chooser(study, own={"mine": {name: np.array([9, 4, 4])}}).arms(_unit(study, 0, 2))
    fact = study.column("queries", "fact")
    assert tuple(arms.sets) == (*SETS, "mine")
    for row in range(len(arms.neighbor)):
        assert _set(arms, "mine", row) == ({4, 9} if fact[row] == 1 else set())


def test_facts_whose_panels_overflowed_have_no_sets_and_the_others_theirs() -> None:
    study = simulate(facts=24, relations=2, templates=5, seed=3)
    signals = study.signals
    floors = signals["panel_floor"].values.copy()
    floors[3] = 0.6
    groups = {**study.datasets, "signals": signals.assign(panel_floor=("fact", floors))}
    overflowed = Study(groups, study.attrs)
    with pytest.raises(FloorError, match="panels asked for"):
        overflowed.neurons("ig", THRESHOLD)
    ours, whole = certain_sets(overflowed, "ig", THRESHOLD), study.neurons("ig", THRESHOLD)
    for query, fact in enumerate(whole.queries["fact"]):
        expected = [] if fact == 3 else whole.of(query).tolist()
        assert ours.of(query).tolist() == expected
    assert ours.member.dtype == bool
    with pytest.raises(FloorError):
        certain_sets(overflowed, "ig", 0.01)


def test_refined_neurons_against_counting(study: Study) -> None:
    sets = study.neurons("ig", THRESHOLD)
    found = refined_neurons(sets)
    fact, relation = sets.queries["fact"], sets.facts["relation"]
    sizes: dict[str, list[int]] = {}
    for number in range(sets.n_facts):
        of_fact = [set(sets.of(int(q)).tolist()) for q in np.flatnonzero(fact == number)]
        filled = [one for one in of_fact if one]
        p = found.share[str(relation[number])]
        counts = {n: sum(n in one for one in filled) for n in set().union(*filled)}
        expected = {n for n, c in counts.items() if c >= 3 and c >= p * len(filled) - 1e-9}
        row = found.member.indices[found.member.indptr[number] : found.member.indptr[number + 1]]
        assert set(row.tolist()) == expected
        if len(filled) >= 3:
            sizes.setdefault(str(relation[number]), []).append(len(expected))
    for name, given in sizes.items():
        assert found.converged[name] == (2 <= np.mean(given) <= 5)


def test_a_query_without_a_neighbor_has_no_differences(study: Study) -> None:
    """Wherever its unit begins."""
    chooser = _chooser(study)
    sizes = study.neurons("ig", THRESHOLD).sizes().copy()
    unit = _unit(study, 20, 24)
    sizes[unit.first_query + 1 : unit.last_query] = 0  # the first query's fact has no other set
    chooser.__dict__["_sizes"] = sizes
    arms = chooser.arms(unit)
    assert arms.neighbor[0] == -1
    for name in ("neighbor", "own_minus_neighbor", "neighbor_minus_own"):
        assert _set(arms, name, 0) == set()


def test_a_sentence_whose_template_is_its_own_has_another_feature_of_its_paradigm(study: Study) -> None:
    """Of BLiMP's sentences, no two share a template; single pairs, whose object is their answer, have none."""
    fact, n = study.column("queries", "fact"), len(study.column("queries", "fact"))
    own = study.queries.assign(template=("query", [f"own {row}" for row in range(n)]))
    forms = own.assign(answer=("query", [f"form {row}" for row in range(n)]))
    for queries, some in ((own, False), (forms, True)):
        moved = Study({**study.datasets, "queries": queries}, study.attrs)
        other = _chooser(moved).arms(_unit(study, 0, 24)).other_fact
        assert (other >= 0).any() == some
        here = np.flatnonzero(other >= 0)
        for name, same in (("relation", True), ("object", False), ("subject", False)):
            column = study.column("facts", name)
            assert ((column[fact[other[here]]] == column[fact[here]]) == same).all()


def test_views_are_of_whole_facts_and_do_not_depend_on_the_unit(study: Study) -> None:
    part = InterventionPlan(viewed_facts=4, viewed_neurons=6)
    chooser = Chooser.of(study, part, seed=0, own={})
    fact = study.column("queries", "fact")
    whole = chooser.arms(_unit(study, 0, 24)).views
    assert whole is not None
    assert whole.shape == (len(fact), 6)
    viewed = np.unique(fact[(whole >= 0).any(axis=1)])
    np.testing.assert_array_equal(viewed, list(viewed_facts(study.neurons(), 4, 0)))
    for number in viewed:
        assert len(np.unique(whole[fact == number], axis=0)) == 1
    unit = _unit(study, 5, 11)
    apart = Chooser.of(study, part, seed=0, own={}).arms(unit).views
    np.testing.assert_array_equal(apart, whole[unit.first_query : unit.last_query])
    assert _chooser(study).arms(unit).views is None
