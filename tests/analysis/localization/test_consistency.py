"""consistency(): brute force over pairs, the NaN rules of methods.md §5, and what depends on k."""

from itertools import combinations

import numpy as np
import pytest

from qloc.analysis.localization.consistency import (
    chance_overlap,
    consistency,
    filled,
    first_queries,
    inconsistent,
)
from qloc.analysis.localization.inconsistent_share import ki_frame, rarefaction, ratio, ratio_interval
from qloc.simulation.planted import plant


def brute_chance(sets, relation: str, same: bool) -> float:
    q = sets.queries
    wide = sets.member.toarray()
    top = bottom = 0
    for i, j in combinations(np.flatnonzero(q["relation"] == relation), 2):
        if q["fact"][i] == q["fact"][j] or q["template"][i] == q["template"][j]:
            continue
        if (q["answer"][i] == q["answer"][j]) == same:
            top += 2 * np.sum(wide[i] & wide[j])
            bottom += wide[i].sum() + wide[j].sum()
    return top / bottom if bottom else np.nan


@pytest.mark.parametrize("same", [False, True])
def test_chance_overlap_is_over_all_qualifying_pairs(planted, same):
    used = filled(planted.known())
    names = np.unique(used.facts["relation"])
    found = chance_overlap(used, names)[int(same)]
    expected = [brute_chance(used, name, same) for name in names]
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_by_hand(make_sets):
    # Two facts with other answers, two templates each.
    sets = make_sets(
        [(0, "s", "a", [1, 2]), (0, "t", "a", [2, 3]), (1, "s", "b", [2, 4]), (1, "t", "b", [4])]
    )
    found = consistency(sets)
    assert found.CS1.values == pytest.approx([1 / 3, 1 / 2])
    assert found.CS2.values == pytest.approx([1 / 3, 1 / 2])
    assert found.D.values == pytest.approx([2 / 4, 2 / 3])
    # Pairs of other facts and templates: {1,2}–{4} share 0 of 3, {2,3}–{2,4} share one of 4.
    d0 = 2 * 1 / (3 + 4)
    assert found.D0.values == pytest.approx([d0])
    assert found.kappa.values == pytest.approx([(1 / 2 - d0) / (1 - d0), (2 / 3 - d0) / (1 - d0)])
    assert np.isnan(found.D0_same_answer.values).all()
    assert np.isnan(found.kappa_same_answer.values).all()


def test_empty_sets_are_left_out_and_counted(make_sets):
    sets = make_sets(
        [(0, "s", "a", [1]), (0, "t", "a", []), (0, "u", "a", [1]), (1, "s", "b", []), (1, "t", "b", [2])]
    )
    found = consistency(sets)
    assert found.k.values.tolist() == [2, 1]
    assert found.n_empty.values.tolist() == [1, 1]
    assert found.CS1.values[0] == 1
    assert np.isnan(found.D.values[1])
    assert found.attrs["n_undefined"] == 1


def test_unknown_queries_and_leaking_facts_are_left_out(planted):
    found, everything = consistency(planted), consistency(planted, known=False)
    q, leaks = planted.queries, planted.facts["leaks"]
    size = planted.sizes() > 0
    expected = np.bincount(q["fact"][q["known"] & size & ~leaks[q["fact"]]], minlength=planted.n_facts)
    assert found.k.values.tolist() == expected.tolist()
    assert everything.k.values.sum() > found.k.values.sum()
    assert everything.k.values[leaks].sum() == 0
    assert consistency(planted.known()).equals(found)


def test_chance_of_one_gives_no_kappa(make_sets):
    rows = [(f, t, "ab"[f], [3]) for f in (0, 1) for t in "st"]
    found = consistency(make_sets(rows))
    assert found.D0.values.tolist() == [1.0]
    assert np.isnan(found.kappa.values).all()


def test_dice_is_flat_in_k_where_cs1_falls_and_cs2_rises():
    sets = plant(facts=1500, relations=10, missing=0.0, known=1.0, empty=0.0, leaking=0.0, seed=3).sets()
    means = {k: consistency(first_queries(sets, k)).mean() for k in (2, 4, 8)}
    cs1, cs2, d, kappa = ([float(means[k][name]) for k in means] for name in ("CS1", "CS2", "D", "kappa"))
    assert cs1[0] > 3 * cs1[1] > 9 * cs1[2]
    assert cs2[0] < cs2[1] < cs2[2]
    # Standard error of the mean D at k = 2 is 0.003 here.
    assert max(d) - min(d) < 0.01
    assert max(kappa) - min(kappa) < 0.01


def test_ratio_of_subsets_does_not_move_with_k_but_the_published_one_does():
    sets = plant(facts=1600, relations=160, missing=0.0, known=1.0, empty=0.0, leaking=0.0, seed=4).sets()
    published, comparable = [], []
    for k in (3, 8):
        frame = ki_frame(first_queries(sets, k), thresholds=(0.2,), n_bootstrap=0)
        here = frame[frame.score == "cs2"].set_index("rule").ki
        published.append(here["static"])
        comparable.append(here["subsets"])
    assert published[0] > 2 * published[1]
    # With k = 3 each fact has one subset: a standard error of 0.012, and of which templates come first.
    assert comparable[0] == pytest.approx(comparable[1], abs=0.04)


def test_rarefaction_ends_at_the_full_scores(planted):
    curve = rarefaction(planted, threshold=0.1, largest=4)
    full = consistency(planted)
    most = full.k.values == 4
    assert curve.k0.tolist() == [2, 3, 4]
    assert curve.mean_cs2.iloc[-1] == pytest.approx(full.CS2.values[most].mean())
    assert curve.ki_cs1.iloc[-1] == pytest.approx(float(inconsistent(full.CS1.values[most], 0.1)))
    assert curve.mean_cs1.iloc[0] == pytest.approx(curve.mean_cs2.iloc[0])  # two sets: the same score


def test_otsu_ratio_interval_holds_the_estimate(planted):
    values = consistency(planted).CS2.values
    unit = np.arange(len(values))
    found = ratio_interval(values, None, (unit,), n_resamples=199, seed=0)
    assert found is not None
    assert 0 <= found.low <= ratio(values, None) <= found.high <= 1
    assert "one-way cluster bootstrap" in found.method


def test_ratio_without_facts():
    nothing = np.full(3, np.nan)
    assert np.isnan(ratio(nothing, 0.1))
    assert ratio_interval(nothing, None, (np.arange(3),), n_resamples=99, seed=0) is None
    assert np.isnan(inconsistent(nothing, 0.1))
