"""Scores against their definitions: kernels by sets, labelled scores by hand, and what depends on k."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from qloc.analysis.localization.consistency import (
    answer_codes,
    chance_overlap,
    consistency,
    cs1,
    cs2,
    dice,
    filled,
    first_queries,
    kappa,
    relation_codes,
    union_size,
)
from qloc.analysis.localization.neuron_counts import counts_by
from qloc.simulation.planted import plant

SETS = st.lists(st.frozensets(st.integers(0, 11), min_size=1, max_size=8), min_size=2, max_size=6)


def member_of(sets) -> sparse.csr_array:
    wide = np.zeros((len(sets), 12), dtype=bool)
    for row, neurons in zip(wide, sets, strict=True):
        row[list(neurons)] = True
    return sparse.csr_array(wide)


def scores(sets) -> tuple[float, float, float]:
    member = member_of(sets)
    counts = counts_by(member, np.zeros(len(sets), dtype=np.int64))
    k = np.array([len(sets)])
    first, second, overlap = (float(score(counts, k)[0]) for score in (cs1, cs2, dice))
    return first, second, overlap


@given(SETS)
def test_scores_are_their_definitions(sets):
    union, both = frozenset.union(*sets), frozenset.intersection(*sets)
    several = {n for n in union if sum(n in s for s in sets) > 1}
    pairs = list(combinations(sets, 2))
    overlap = sum(2 * len(a & b) for a, b in pairs) / sum(len(a) + len(b) for a, b in pairs)
    expected = (len(both) / len(union), len(several) / len(union), overlap)
    assert scores(sets) == pytest.approx(expected, abs=1e-15)


@given(SETS, st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_order_or_numbering(sets, random):
    number = list(range(12))
    random.shuffle(number)
    moved = [frozenset(number[n] for n in s) for s in sets]
    random.shuffle(moved)
    assert scores(moved) == pytest.approx(scores(sets), abs=1e-15)


@given(SETS)
def test_scores_lie_in_order(sets):
    first, second, overlap = scores(sets)
    assert 0 <= first <= second <= 1
    assert 0 <= overlap <= 1


def test_one_set_has_no_score():
    counts = counts_by(member_of([{1, 2}]), np.zeros(1, dtype=np.int64))
    for kernel in (cs1, cs2, dice):
        assert np.isnan(kernel(counts, np.array([1])))


def test_kappa_is_not_defined_where_chance_is_perfect():
    assert np.isnan(kappa(np.array([0.5]), np.array([1.0])))[0]
    assert np.isnan(kappa(np.array([0.5]), np.array([np.nan])))[0]


def brute_chance(sets, relation: str, same: bool) -> float:
    q = sets.queries
    wide, subject = sets.member.toarray(), sets.facts["subject"][q["fact"]]
    top = bottom = 0
    for i, j in combinations(np.flatnonzero(q["relation"] == relation), 2):
        if subject[i] == subject[j] or q["template"][i] == q["template"][j]:
            continue
        if (q["answer"][i] == q["answer"][j]) == same:
            top += 2 * np.sum(wide[i] & wide[j])
            bottom += wide[i].sum() + wide[j].sum()
    return top / bottom if bottom else np.nan


@pytest.mark.parametrize("same", [False, True])
def test_chance_overlap_is_over_all_qualifying_pairs(planted, same):
    used = filled(planted.known())
    names = np.unique(used.facts["relation"])
    chance = chance_overlap(used, names)[int(same)]
    expected = [brute_chance(used, name, same) for name in names]
    assert chance == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("same", [False, True])
def test_facts_of_one_subject_are_no_chance_of_each_other(planted, same):
    """Every third fact gets the subject of the one before: the same prompts, with another object."""
    used = filled(planted.known())
    subject = used.facts["subject"].copy()
    subject[1::3] = subject[:-1:3][: len(subject[1::3])]
    used = replace(used, facts={**used.facts, "subject": subject})
    names = np.unique(used.facts["relation"])
    expected = [brute_chance(used, name, same) for name in names]
    assert chance_overlap(used, names)[int(same)] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_by_hand(make_sets):
    # Two facts with other answers, two templates each.
    sets = make_sets(
        [(0, "s", "a", [1, 2]), (0, "t", "a", [2, 3]), (1, "s", "b", [2, 4]), (1, "t", "b", [4])]
    )
    labelled = consistency(sets)
    assert labelled.CS1.values == pytest.approx([1 / 3, 1 / 2])
    assert labelled.CS2.values == pytest.approx([1 / 3, 1 / 2])
    assert labelled.D.values == pytest.approx([2 / 4, 2 / 3])
    # Pairs of other facts and templates: {1,2}–{4} share 0 of 3, {2,3}–{2,4} share one of 4.
    d0 = 2 * 1 / (3 + 4)
    assert labelled.D0.values == pytest.approx([d0, d0])
    assert labelled.kappa.values == pytest.approx([(1 / 2 - d0) / (1 - d0), (2 / 3 - d0) / (1 - d0)])
    assert np.isnan(labelled.D0_same_answer.values).all()
    assert np.isnan(labelled.kappa_same_answer.values).all()


def test_empty_sets_are_left_out_and_counted(make_sets):
    sets = make_sets(
        [(0, "s", "a", [1]), (0, "t", "a", []), (0, "u", "a", [1]), (1, "s", "b", []), (1, "t", "b", [2])]
    )
    labelled = consistency(sets)
    assert labelled.k.values.tolist() == [2, 1]
    assert labelled.n_empty.values.tolist() == [1, 1]
    assert labelled.CS1.values[0] == 1
    assert np.isnan(labelled.D.values[1])
    assert labelled.attrs["n_undefined"] == 1


def test_unknown_queries_and_leaking_facts_are_left_out(planted):
    of_known, of_all = consistency(planted), consistency(planted, known=False)
    q, leaks = planted.queries, planted.facts["leaks"]
    size = planted.sizes() > 0
    expected = np.bincount(q["fact"][q["known"] & size & ~leaks[q["fact"]]], minlength=planted.n_facts)
    assert of_known.k.values.tolist() == expected.tolist()
    assert of_all.k.values.sum() > of_known.k.values.sum()
    assert of_all.k.values[leaks].sum() == 0
    assert consistency(planted.known()).equals(of_known)


def test_chance_of_one_gives_no_kappa(make_sets):
    rows = [(f, t, "ab"[f], [3]) for f in (0, 1) for t in "st"]
    labelled = consistency(make_sets(rows))
    assert labelled.D0.values.tolist() == [1.0, 1.0]
    assert np.isnan(labelled.kappa.values).all()


def test_first_queries_of_each_fact_whatever_their_order(make_sets):
    rows = [(f, t, "a", [n]) for n, (f, t) in enumerate([(1, "s"), (0, "s"), (1, "t"), (1, "u"), (0, "t")])]
    kept = first_queries(make_sets(rows), 2)
    assert [kept.of(query).tolist() for query in range(kept.n_queries)] == [[0], [1], [2], [4]]


def test_codes_and_unions_by_hand(make_sets):
    sets = make_sets([(0, "s", "b", [1, 2]), (0, "t", "b", [2, 3]), (1, "s", "a", [4]), (2, "s", "b", [5])])
    names, relation = relation_codes(sets)
    assert (names.tolist(), relation.tolist()) == (["R"], [0, 0, 0])
    assert answer_codes(sets).tolist() == [1, 0, 1]
    assert union_size(counts_by(sets.member, sets.queries["fact"])).tolist() == [3, 1, 1]


def test_dice_is_flat_in_k_where_cs1_falls_and_cs2_rises():
    sets = plant(facts=1500, relations=10, missing=0.0, known=1.0, empty=0.0, leaking=0.0, seed=3).sets()
    means = {k: consistency(first_queries(sets, k)).mean() for k in (2, 4, 8)}
    ones, twos, d, corrected = (
        [float(means[k][name]) for k in means] for name in ("CS1", "CS2", "D", "kappa")
    )
    assert ones[0] > 3 * ones[1] > 9 * ones[2]
    assert twos[0] < twos[1] < twos[2]
    # Standard error of the mean D at k = 2 is 0.003 here.
    assert max(d) - min(d) < 0.01
    assert max(corrected) - min(corrected) < 0.01
