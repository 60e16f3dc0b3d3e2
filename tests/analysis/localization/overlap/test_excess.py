"""Overlap beyond template and answer: brute force, and exact permutation distributions."""

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest

from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap.excess import excesses
from qloc.analysis.localization.overlap.query_pairs import LEVELS, Level
from qloc.simulation.planted import plant


def brute(sets, level) -> float:
    """Mean over facts of within − between, straight from the words of the estimand."""
    q, wide = sets.queries, sets.member.toarray()
    same = [
        f"{r}|{t}|{a if level == 'answer' else ''}"
        for r, t, a in zip(q["relation"], q["template"], q["answer"], strict=True)
    ]

    subject = sets.facts["subject"][q["fact"]]

    def overlap(i, j):
        return 2 * np.sum(wide[i] & wide[j]) / (wide[i].sum() + wide[j].sum())

    means = []
    for fact in np.unique(q["fact"]):
        own = []
        for i, j in combinations(np.flatnonzero(q["fact"] == fact), 2):
            others = [
                overlap(a, b)
                for a in range(len(same))
                for b in range(len(same))
                if same[a] == same[i] and same[b] == same[j] and subject[a] != subject[b]
            ]
            if others and q["template"][i] != q["template"][j]:
                own.append(overlap(i, j) - np.mean(others))
        if own:
            means.append(np.mean(own))
    return float(np.mean(means)) if means else float("nan")


@pytest.mark.parametrize("level", ["template", "answer"])
@pytest.mark.parametrize("seed", [0, 1])
def test_estimate_is_its_definition(level: Level, seed):
    sets = filled(
        considered(
            plant(facts=14, relations=2, templates=3, answers_per_relation=2, one_to_one=0, seed=seed).sets()
        )
    )
    excess = excesses(sets, (level,), n_permutations=0)[level]
    # Overlaps are kept in float32: 24 bits.
    assert excess.estimate == pytest.approx(brute(sets, level), abs=1e-7)


def test_facts_of_one_subject_are_not_compared(make_sets):
    """Facts 0 and 1 have a subject, and so the same prompts; sets and their permutations, by brute force."""
    rows = [(0, "s", "a", [1, 2]), (0, "t", "a", [2, 3]), (1, "s", "b", [1, 2, 4]), (1, "t", "b", [2, 3])]
    rows += [(2, "s", "a", [5, 6]), (2, "t", "a", [6, 1]), (3, "s", "b", [7]), (3, "t", "b", [7, 2])]

    def of_three(rows):
        made = make_sets(rows)
        return replace(made, facts={**made.facts, "subject": np.array(["x", "x", "y", "z"])})

    excess = excesses(of_three(rows), n_permutations=4000)
    for level in LEVELS:
        assert excess[level].estimate == pytest.approx(brute(of_three(rows), level), abs=1e-7)
    sets, q = of_three(rows), of_three(rows).queries
    subject, wide = sets.facts["subject"][q["fact"]], sets.member.toarray()
    apart = [
        2 * np.sum(wide[a] & wide[b]) / (wide[a].sum() + wide[b].sum())
        for a in np.flatnonzero(q["template"] == "s")
        for b in np.flatnonzero(q["template"] == "t")
        if q["answer"][a] != q["answer"][b] and subject[a] != subject[b]
    ]
    assert len(apart) == 6  # of 8 pairs with other answers
    np.testing.assert_allclose(excess["answer"].other, np.mean(apart), atol=1e-7)
    values = []
    for first in permutations(range(4)):
        for second in permutations(range(4)):
            moved = [
                (f, t, a, rows[2 * (first if t == "s" else second)[f] + (t == "t")][3]) for f, t, a, _ in rows
            ]
            values.append(brute(of_three(moved), "template"))
    drawn = excess["template"].permuted
    assert set(drawn.round(6)) <= set(np.round(values, 6))
    assert drawn.mean() == pytest.approx(np.mean(values), abs=4 * np.std(values) / 4000**0.5)


def test_permutations_are_those_of_the_null(make_sets):
    """Three facts, two templates: 6 relative permutations; each permuted value is one of theirs."""
    rows = [(0, "s", "a", [1, 2]), (0, "t", "a", [1, 3]), (1, "s", "a", [4, 5]), (1, "t", "a", [4, 6]),
            (2, "s", "a", [7, 1]), (2, "t", "a", [7, 4])]  # fmt: skip
    sets = make_sets(rows)
    excess = excesses(sets, ("template",), n_permutations=300, seed=3)["template"]
    values = []
    for order in permutations(range(3)):
        moved = [row if row[1] == "s" else (row[0], "t", "a", rows[2 * order[row[0]] + 1][3]) for row in rows]
        values.append(brute(make_sets(moved), "template"))
    exact = np.unique(np.round(values, 6))
    assert np.isin(np.round(excess.permuted, 6), exact).all()
    shares = [np.mean(np.round(excess.permuted, 6) == value) for value in np.round(values, 6)]
    counts = [np.sum(np.round(values, 6) == value) / 6 for value in np.round(values, 6)]
    assert shares == pytest.approx(counts, abs=0.1)
    assert np.mean(values) == pytest.approx(0, abs=1e-12)


def test_levels_do_not_depend_on_each_other(planted):
    used = filled(considered(planted))
    both = excesses(used, n_permutations=30, seed=7)
    for level in LEVELS:
        alone = excesses(used, (level,), n_permutations=30, seed=7)[level]
        assert alone.permuted.tolist() == both[level].permuted.tolist()


def test_study_without_pairs(make_sets):
    nothing = excesses(make_sets([(0, "s", "a", [1]), (1, "s", "a", [2])]), n_permutations=5)
    for level in LEVELS:
        assert np.isnan(nothing[level].estimate)
        assert nothing[level].n_queries == 0
