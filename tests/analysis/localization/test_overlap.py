"""Overlap beyond template and answer: brute force, exact permutation distributions, planted truth."""

from itertools import combinations, permutations

import numpy as np
import pytest

from qloc import hypotheses
from qloc.analysis.localization import overlap as overlap_module
from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap import excesses
from qloc.simulation.planted import plant


def brute(sets, level: str) -> float:
    """Mean over facts of within − between, straight from the words of the estimand."""
    q, wide = sets.queries, sets.member.toarray()
    same = [
        f"{r}|{t}|{a if level == 'answer' else ''}"
        for r, t, a in zip(q["relation"], q["template"], q["answer"], strict=True)
    ]

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
                if same[a] == same[i] and same[b] == same[j] and q["fact"][a] != q["fact"][b]
            ]
            if others and q["template"][i] != q["template"][j]:
                own.append(overlap(i, j) - np.mean(others))
        if own:
            means.append(np.mean(own))
    return float(np.mean(means)) if means else float("nan")


@pytest.mark.parametrize("level", ["template", "answer"])
@pytest.mark.parametrize("seed", [0, 1])
def test_estimate_is_its_definition(level, seed):
    sets = filled(
        considered(
            plant(facts=14, relations=2, templates=3, answers_per_relation=2, one_to_one=0, seed=seed).sets()
        )
    )
    found = excesses(sets, (level,), n_permutations=0)[level]
    # Overlaps are kept in float32: 24 bits.
    assert found.estimate == pytest.approx(brute(sets, level), abs=1e-7)


@pytest.mark.parametrize(("whole", "cells"), [(0, 2**26), (0, 40), (2048, 40)])
def test_blocks_however_cut_give_the_same(monkeypatch, whole, cells):
    sets = filled(considered(plant(facts=40, relations=2, templates=4, seed=5).sets()))
    expected = excesses(sets, n_permutations=20, seed=1)
    monkeypatch.setattr(overlap_module, "WHOLE", whole)
    monkeypatch.setattr(overlap_module, "BLOCK_CELLS", cells)
    found = excesses(sets, n_permutations=20, seed=1)
    for level in ("template", "answer"):
        assert found[level].permuted == pytest.approx(expected[level].permuted, abs=1e-12)
        assert found[level].excess == pytest.approx(expected[level].excess, abs=1e-12, nan_ok=True)


def test_popular_neurons_are_counted_like_others(monkeypatch):
    sets = filled(considered(plant(facts=30, relations=1, templates=3, template_strength=0.9, seed=6).sets()))
    expected = excesses(sets, n_permutations=9)
    for popular in (1, 10**6):  # nothing dense, everything dense
        monkeypatch.setattr(overlap_module, "POPULAR", popular)
        found = excesses(sets, n_permutations=9)
        assert found["template"].permuted == pytest.approx(expected["template"].permuted, abs=1e-7)


def test_permutations_are_those_of_the_null(make_sets):
    """Three facts, two templates: 6 relative permutations; each permuted value is one of theirs."""
    rows = [(0, "s", "a", [1, 2]), (0, "t", "a", [1, 3]), (1, "s", "a", [4, 5]), (1, "t", "a", [4, 6]),
            (2, "s", "a", [7, 1]), (2, "t", "a", [7, 4])]  # fmt: skip
    sets = make_sets(rows)
    found = excesses(sets, ("template",), n_permutations=300, seed=3)["template"]
    values = []
    for order in permutations(range(3)):
        moved = [row if row[1] == "s" else (row[0], "t", "a", rows[2 * order[row[0]] + 1][3]) for row in rows]
        values.append(brute(make_sets(moved), "template"))
    exact = np.unique(np.round(values, 6))
    assert np.isin(np.round(found.permuted, 6), exact).all()
    shares = [np.mean(np.round(found.permuted, 6) == value) for value in np.round(values, 6)]
    counts = [np.sum(np.round(values, 6) == value) / 6 for value in np.round(values, 6)]
    assert shares == pytest.approx(counts, abs=0.1)
    assert np.mean(values) == pytest.approx(0, abs=1e-12)


def test_levels_do_not_depend_on_each_other(planted):
    used = filled(considered(planted))
    both = excesses(used, n_permutations=30, seed=7)
    for level in ("template", "answer"):
        alone = excesses(used, (level,), n_permutations=30, seed=7)[level]
        assert alone.permuted.tolist() == both[level].permuted.tolist()


def test_one_to_one_relations_are_not_identified_and_said_so():
    sets = plant(
        facts=60, relations=3, templates=4, one_to_one=1, answers_per_relation=2, leaking=0, seed=8
    ).sets()
    result = hypotheses.beyond_answer(sets, n_permutations=99)
    assert result.n["relations"] == 2
    assert "Relations without any such fact (one-to-one: not identified): R03." in result.checks
    alone = plant(facts=20, relations=1, one_to_one=1, seed=8).sets()
    nothing = hypotheses.beyond_answer(alone, n_permutations=99)
    assert nothing.verdict == "not identified"
    assert nothing.p is None
    assert np.isnan(nothing.estimate)
    assert hypotheses.beyond_template(alone, n_permutations=99).verdict == "holds"


@pytest.mark.parametrize(
    ("planting", "a", "b"),
    [
        ({"answer_strength": 0.0, "fact_strength": 0.0}, "undecided", "undecided"),
        ({"answer_strength": 0.4, "fact_strength": 0.0}, "holds", "undecided"),
        ({"answer_strength": 0.4, "fact_strength": 0.3}, "holds", "holds"),
    ],
)
def test_what_is_planted_is_found_and_nothing_else(planting, a, b):
    sets = plant(facts=200, relations=8, templates=4, n_neurons=128, seed=11, **planting).sets()
    for result, verdict in zip(
        hypotheses.overlap_tests(sets, draws=hypotheses.Draws(n_permutations=199)), (a, b), strict=True
    ):
        assert (result.name, result.verdict) == (result.name, verdict)


def test_more_fact_neurons_more_excess():
    found = [
        hypotheses.beyond_answer(
            plant(facts=200, relations=8, fact_strength=s, seed=12).sets(), n_permutations=99
        )
        for s in (0.0, 0.2, 0.5)
    ]
    estimates = [result.estimate for result in found]
    assert estimates[0] < estimates[1] < estimates[2]
    assert found[2].effect is not None
    assert found[2].effect.value > 0.5
    assert found[2].interval is not None
    assert found[2].interval.low < estimates[2] < found[2].interval.high


def test_same_seed_same_result(planted):
    first, second, other = (hypotheses.beyond_template(planted, n_permutations=99, seed=s) for s in (1, 1, 2))
    assert first == second
    assert first.estimate == other.estimate
