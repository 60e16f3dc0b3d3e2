"""The slots of every edit: from used queries alone, by their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.editing.choosing_edits import EditChooser
from qloc.analysis.inputs.study import Study
from qloc.arms import EditArms
from qloc.block import Unit
from qloc.facts import AnsweredQueries, Entailments, Query
from qloc.phase_plan import EditPlan
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate(facts=24, relations=3, templates=6, seed=5)


def _unit(study: Study, first: int, last: int) -> Unit:
    fact = study.column("queries", "fact")
    a, b = np.searchsorted(fact, [first, last])
    return Unit(number=0, first_fact=first, last_fact=last, first_query=int(a), last_query=int(b))


def _set(arms: EditArms, name: str, row: int) -> list[int]:
    member = arms.sets[name]
    return sorted(member.indices[member.indptr[row] : member.indptr[row + 1]].tolist())


def test_sets_come_from_used_queries(study: Study) -> None:
    chooser = EditChooser(study=study, part=EditPlan())
    arms, sets = chooser.arms(_unit(study, 0, 24)), study.neurons("ig", 0.2)
    signals = study.signals_of("ig")
    for row in range(24):
        queries = np.flatnonzero(sets.queries["fact"] == row)
        edited = int(arms.edited_query[row])
        assert edited in queries
        held = arms.held_out[row, : len(queries)]
        assert held[edited - queries[0]] == 0
        assert held.sum() == (len(queries) - 1) // 2
        used = queries[held == 0]
        assert _set(arms, "own", row) == sets.of(edited).tolist()
        assert _set(arms, "union", row) == sorted(set().union(*(set(sets.of(int(q)).tolist()) for q in used)))
        _, values, panel = signals.rows(used)
        scores = {}
        for slot, neuron in enumerate(panel[0].tolist()):
            if neuron >= 0:
                ratio = [float(values[n, slot]) / float(signals.maximum[q]) for n, q in enumerate(used)]
                mean = sum(ratio) / len(ratio)
                spread = (sum((r - mean) ** 2 for r in ratio) / len(ratio)) ** 0.5
                scores[neuron] = (0.7 * mean - 0.3 * spread, 0.7 * mean)
        for name, which in (("cas", 0), ("cas_no_penalty", 1)):
            most = max(score[which] for score in scores.values())
            expected = sorted(n for n, score in scores.items() if score[which] > 0.3 * most)
            assert _set(arms, name, row) == (expected if most > 0 else [])
        for name in ("own_top", "union_top", "cas_top"):
            assert len(_set(arms, name, row)) <= 20


def test_a_new_object_is_right_for_no_fact_of_the_subject(study: Study) -> None:
    """Drawn or not, of this relation or another: every right object is left out, for every seed."""
    objects, relations = study.column("facts", "object"), study.column("facts", "relation")
    subjects = study.column("facts", "subject").copy()
    others = np.unique(objects[(relations == relations[0]) & (objects != objects[0])])
    twin = int(np.flatnonzero((relations != relations[0]) & (subjects != subjects[0]))[0])
    subjects[twin] = subjects[0]
    objects = objects.copy()
    objects[twin] = others[0]  # right for the subject under another relation
    facts = study.facts.assign(subject=("fact", subjects), object=("fact", objects))
    right: list[tuple[str, ...]] = [(str(name),) for name in objects]
    right[0] = (str(objects[0]), *others[1:-1])  # not in the sample, but the last
    moved = Study({**study.datasets, "facts": facts}, study.attrs)
    unit = _unit(study, 0, 1)
    drawn = {
        EditChooser(study=moved, part=EditPlan(), right=right, seed=s).arms(unit).new_object[0]
        for s in range(9)
    }
    assert drawn == {str(others[-1])}
    right[0] = (str(objects[0]), *map(str, others))
    assert EditChooser(study=moved, part=EditPlan(), right=right).arms(unit).new_object == ("",)


def test_objects_probes_and_other_facts(study: Study) -> None:
    arms = EditChooser(study=study, part=EditPlan()).arms(_unit(study, 0, 24))
    facts, sets = study.facts, study.neurons("ig", 0.2)
    objects, relations, subjects = (study.column("facts", n) for n in ("object", "relation", "subject"))
    assert len(facts) > 0
    for row in range(24):
        if arms.new_object[row]:
            assert arms.new_object[row] != objects[row]
            assert arms.new_object[row] in objects[relations == relations[row]]
        else:
            assert len(set(objects[relations == relations[row]])) == 1
        for query, kind in zip(arms.probe_query[row], arms.probe_kind[row], strict=True):
            if query < 0:
                assert kind == ""
                continue
            other = sets.queries["fact"][query]
            assert sets.queries["known"][query]
            assert subjects[other] != subjects[row]
            answer, _, relation, _ = kind.split("_")
            assert (answer == "same") == (objects[other] == objects[row])
            assert (relation == "same") == (relations[other] == relations[row])
        other = int(arms.other_fact[row])
        if other >= 0:
            edited = int(arms.edited_query[row])
            assert sets.queries["template"][other] == sets.queries["template"][edited]
            assert sets.queries["answer"][other] != sets.queries["answer"][edited]


def test_edits_do_not_depend_on_the_unit(study: Study) -> None:
    whole = EditChooser(study=study, part=EditPlan()).arms(_unit(study, 0, 24))
    part = EditChooser(study=study, part=EditPlan()).arms(_unit(study, 7, 12))
    for name in ("edited_query", "held_out", "probe_query"):
        np.testing.assert_array_equal(getattr(whole, name)[7:12], getattr(part, name))
    assert whole.new_object[7:12] == part.new_object
    for name, member in part.sets.items():
        np.testing.assert_array_equal(whole.sets[name][7:12].toarray(), member.toarray())


def test_a_budget_of_facts_takes_known_ones_first(study: Study) -> None:
    every = EditChooser(study=study, part=EditPlan()).arms(_unit(study, 0, 24))
    some = EditChooser(study=study, part=EditPlan(max_facts=3)).arms(_unit(study, 0, 24))
    chosen, relation = some.edited_query >= 0, study.column("facts", "relation")
    np.testing.assert_array_equal(some.edited_query[chosen], every.edited_query[chosen])
    known = study.neurons("ig", 0.2).queries["known"][every.edited_query]
    for name in np.unique(relation):
        here = relation == name
        assert chosen[here].sum() == min(3, here.sum())
        assert not known[here & ~chosen].any() or known[here & chosen].all()


def _entailing(study: Study, n_subjects: int = 1) -> list[Entailments]:
    """Every fact with an inverse and a synonym."""
    query = (Query(template="t", text="[X] [Y]"),)
    subjects = study.column("facts", "subject").tolist()
    return [
        Entailments(
            inverse=AnsweredQueries(answer=str(subject), queries=query),
            n_subjects=n_subjects,
            synonyms=(AnsweredQueries(answer="a", queries=query),),
        )
        for subject in subjects
    ]


def test_facts_that_swap_their_objects_are_edited_as_each_alone_would_be() -> None:
    """One-to-one relations: every o′ is one other fact's object, which is edited the other way round."""
    study = simulate(facts=24, relations=3, templates=6, one_to_one=3, seed=5)
    part, unit = EditPlan(max_facts=4), _unit(study, 0, 24)
    arms = EditChooser(study=study, part=part, entailed=_entailing(study)).arms(unit)
    alone = EditChooser(study=study, part=EditPlan(), entailed=_entailing(study)).arms(unit)
    objects, relation = study.column("facts", "object"), study.column("facts", "relation")
    assert arms.entailed is not None
    assert arms.entailed.asks_inverse.all()
    for row in range(24):
        partner = int(arms.entailed.partner[row])
        assert objects[partner] == arms.new_object[row]
        assert relation[partner] == relation[row]
        assert arms.entailed.partner_query[row] == alone.edited_query[partner]
        np.testing.assert_array_equal(arms.entailed.partner_held_out[row], alone.held_out[partner])
        for name, member in arms.entailed.partner_sets.items():
            there = member.indices[member.indptr[row] : member.indptr[row + 1]]
            expected = _set(alone, name, partner) if arms.edited_query[row] >= 0 else []
            if name != "refined":  # chosen over all facts, whose used queries a budget changes
                assert sorted(there.tolist()) == expected


def test_an_inverse_that_is_not_one_fact_is_not_asked() -> None:
    study = simulate(facts=24, relations=3, templates=6, one_to_one=3, seed=5)
    shared = EditChooser(study=study, part=EditPlan(), entailed=_entailing(study, n_subjects=2))
    arms = shared.arms(_unit(study, 0, 24)).entailed
    assert arms is not None
    assert not arms.asks_inverse.any()
    assert (arms.partner == -1).all()
    one = [None, *_entailing(study)[1:]]
    facts = EditChooser(study=study, part=EditPlan(), entailed=one)
    assert facts.arms(_unit(study, 0, 24)).new_object.count(study.column("facts", "object")[0]) == 0
    assert EditChooser(study=study, part=EditPlan()).arms(_unit(study, 0, 24)).entailed is None


def test_a_facts_own_new_object_is_taken(study: Study) -> None:
    """Nobody has it, so that no other fact is edited along; a right answer is not taken."""
    objects = study.column("facts", "object")
    own = np.array(["Elsewhere", str(objects[1]), *[""] * 22], dtype=object)
    given = replace(study, datasets={**study.datasets, "facts": study.facts.assign(target_new=("fact", own))})
    drawn = EditChooser(study=study, part=EditPlan()).arms(_unit(study, 0, 24)).new_object
    used = EditChooser(study=given, part=EditPlan(), entailed=_entailing(study)).arms(_unit(study, 0, 2))
    assert used.new_object[0] == "Elsewhere"
    assert used.new_object[1] != objects[1]
    assert used.entailed is not None
    assert used.entailed.partner[0] == -1
    assert used.entailed.asks_inverse[0]
    ignored = EditChooser(study=given, part=EditPlan(entailments=False)).arms(_unit(study, 0, 24))
    assert ignored.new_object == drawn


def test_pairs_are_edited_unless_told_otherwise(study: Study) -> None:
    """Sentences have o′ of their own; probes may share the empty subject, but not the group."""
    relation = study.column("queries", "relation")
    pair = relation == np.unique(relation)[0]
    queries = study.queries.assign(
        kind=("query", np.where(pair, "minimal_pair", "fact")),
        bad_log_probability=("query", study.column("queries", "log_probability") - 1),
    )
    fact = study.column("queries", "fact")
    of_pair = np.isin(np.arange(24), fact[pair])
    facts = study.facts.assign(subject=("fact", np.where(of_pair, "", study.column("facts", "subject"))))
    mixed = replace(study, datasets={**study.datasets, "queries": queries, "facts": facts})
    plain = EditChooser(study=study, part=EditPlan()).arms(_unit(study, 0, 24))
    every = EditChooser(study=mixed, part=EditPlan()).arms(_unit(study, 0, 24))
    few = EditChooser(study=mixed, part=EditPlan(pairs=False)).arms(_unit(study, 0, 24))
    assert (every.edited_query >= 0).all()
    assert (few.edited_query[of_pair] == -1).all()
    np.testing.assert_array_equal(few.edited_query[~of_pair], plain.edited_query[~of_pair])
    assert [name == "" for name in every.new_object] == of_pair.tolist()
    probes, kind = every.probe_query[of_pair], np.where(pair, "minimal_pair", "fact")
    for row, numbers in zip(np.flatnonzero(of_pair), probes, strict=True):
        there = numbers[numbers >= 0]
        assert not (fact[there] == row).any()
        assert {*kind[there]} == {"fact", "minimal_pair"}
