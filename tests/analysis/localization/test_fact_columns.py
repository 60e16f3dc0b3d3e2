"""Columns of facts: answers alike by definition, read in pieces; which facts and columns there are."""

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.fact_columns import (
    behaviour,
    columns_from_sets,
    fact_columns,
    same_answer,
    same_candidate,
    template_agreement,
    template_kappa,
)
from qloc.simulation.simulate import simulate
from qloc.vocabulary import FACT_COLUMNS


def test_answers_alike_by_definition(study):
    columns = behaviour(study)
    fact, answer = study.column("queries", "fact"), study.column("queries", "argmax")
    log_p = study.column("queries", "candidate_log_probability").astype(float)
    for f in range(0, 40, 9):
        own = np.flatnonzero(fact == f)
        pairs = [*combinations(own, 2)]
        assert columns["agreement"][f] == pytest.approx(np.mean([answer[i] == answer[j] for i, j in pairs]))
        p = np.nan_to_num(np.exp(log_p[own]))
        p /= p.sum(axis=1, keepdims=True)
        alike = np.mean([p[i] @ p[j] for i, j in combinations(range(len(own)), 2)])
        assert columns["candidate_agreement"][f] == pytest.approx(alike)
    assert np.isnan(columns["agreement"][40:]).all()  # minimal pairs have one query


def test_names_of_columns_are_those_that_attributes_may_not_have(study):
    own = [
        name
        for name in map(str, fact_columns(study))
        if not name.startswith("log_") or name == "log_probability"
    ]
    assert tuple(own[4 : 4 + len(FACT_COLUMNS)]) == FACT_COLUMNS


def test_answers_are_read_some_facts_at_a_time(rng, monkeypatch):
    """By brute force, in pieces of a few queries, lazy or not, in any order; a query without candidates is NaN."""
    fact = np.sort(rng.integers(12, size=60))
    log_p = np.where(rng.random((60, 5)) < 0.3, np.nan, rng.standard_normal((60, 5)))
    log_p[7] = np.nan
    p = np.nan_to_num(np.exp(log_p))
    with np.errstate(invalid="ignore"):
        p /= p.sum(axis=1, keepdims=True)
    expected = [
        np.mean([p[i] @ p[j] for i, j in combinations(own, 2)]) if len(own) > 1 else np.nan
        for own in (np.flatnonzero(fact == f) for f in range(14))
    ]
    assert np.isnan(expected).any()
    shuffled = rng.permutation(60)
    for piece in (1, 40, 10**6):
        monkeypatch.setattr("qloc.analysis.localization.fact_columns._PIECE", piece)
        for values in (log_p, xr.DataArray(log_p).chunk(16)):
            assert same_candidate(fact, values, 14) == pytest.approx(expected, nan_ok=True)
        alike = same_candidate(fact[shuffled], log_p[shuffled], 14)
        assert alike == pytest.approx(expected, nan_ok=True)


def test_answers_without_candidates():
    fact = np.array([0, 0])
    assert np.isnan(same_candidate(fact, np.zeros((2, 0)), 1)).all()
    assert same_answer(fact, np.array([3, 3]), 1).tolist() == [1]


def test_columns_of_facts(study):
    frame = fact_columns(study, known=False)
    # of 46, six are minimal pairs: where there are facts, they are left out
    assert len(frame) == 40 - int(study.neurons().facts["leaks"].sum())
    assert frame.log_frequency.to_numpy() == pytest.approx(np.log(frame.frequency))
    assert {"class", "answer_count", "log_mean_size", "known_share"} <= set(frame)
    assert "log_agreement" not in frame
    counts = frame.groupby(["relation", "object"]).size()
    leaking = study.neurons().facts["leaks"].any()
    assert (
        leaking
        or (
            frame.answer_count.to_numpy() == counts.loc[[*zip(frame.relation, frame.object, strict=True)]]
        ).all()
    )


def test_columns_from_sets_by_hand(make_sets):
    """Two facts with one answer, one with another; a column of one's own, and its logarithm where positive."""
    sets = make_sets([(f, t, "aab"[f], [f, 9]) for f in range(3) for t in "st"])
    frame = columns_from_sets(sets, {"weight": np.array([1.0, 2.0, 4.0]), "sign": np.array([-1, 0, 1])})
    assert frame["id"].tolist() == ["f0", "f1", "f2"]
    assert frame.answer_count.tolist() == [2, 2, 1]
    assert frame.log_weight.tolist() == pytest.approx(np.log([1, 2, 4]).tolist())
    assert "log_sign" not in frame
    assert frame.kappa.tolist() == pytest.approx(consistency(sets).kappa.values.tolist())


def test_facts_that_leak_or_are_not_asked_are_left_out(make_sets):
    sets = make_sets([(f, t, "a", [f]) for f in (0, 1, 3) for t in "st"])
    sets.facts["leaks"][1] = True
    assert columns_from_sets(sets, {})["id"].tolist() == ["f0", "f3"]


def test_the_kappa_of_templates_is_that_of_their_pairs_over_all_facts(make_sets):
    """By hand: s and t always overlap by half, u with neither; fact 2 has no u. One relation, D_0 = 0.2."""
    rows = [(f, t, "a", [9, f] if t != "u" else [20 + f, 30 + f]) for f in range(2) for t in "stu"]
    rows += [(2, "s", "a", [9, 2]), (2, "t", "a", [9, 5])]
    sets = make_sets(rows)
    found = template_kappa(sets, np.full(3, 0.2))
    of_s_and_t = np.mean([1.0, 1.0, 0.5])
    expected = [(m - 0.2) / 0.8 for m in (of_s_and_t / 3, of_s_and_t / 3, of_s_and_t)]
    assert found == pytest.approx(expected)
    assert np.isnan(template_kappa(make_sets([(0, "s", "a", [1])]), np.zeros(1))).all()


def test_what_templates_make_of_answers(study, rng):
    """By loops: over a fact's pairs of templates, how often the relation's facts answer both alike."""
    k = rng.integers(1, 6, size=9)
    fact = np.repeat(np.arange(9), k)
    template = np.concatenate([rng.permutation(6)[:n] for n in k])
    answer, n = rng.integers(2, size=len(fact)), len(fact)
    alike: dict[tuple[int, int], list[bool]] = {}
    pairs: dict[int, list[tuple[int, int]]] = {f: [] for f in range(9)}
    for i, j in combinations(range(n), 2):
        if fact[i] == fact[j]:
            cell = min(template[i], template[j]), max(template[i], template[j])
            alike.setdefault(cell, []).append(answer[i] == answer[j])
            pairs[fact[i]].append(cell)
    expected = [
        np.mean([np.mean(alike[cell]) for cell in pairs[f]]) if pairs[f] else np.nan for f in range(9)
    ]
    assert template_agreement(fact, template, answer, 9) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(template_agreement(fact[:0], template[:0], answer[:0], 2)).all()
    columns, of = behaviour(study), study.column("queries", "fact")
    log_p = study.column("queries", "log_probability")
    name = [
        f"{r} {t}"
        for r, t in zip(*(study.column("queries", n) for n in ("relation", "template")), strict=True)
    ]
    usual = {t: np.mean([v for v, u in zip(log_p, name, strict=True) if u == t]) for t in set(name)}
    first = np.mean([usual[t] for t, f in zip(name, of, strict=True) if f == 0])
    assert columns["template_log_probability"][0] == pytest.approx(first)


def test_facts_that_leak_say_nothing_of_what_templates_make():
    """κ of templates leaves them out, too: a relation of many such facts is answered otherwise by these."""
    study = simulate(facts=40, relations=2, templates=3, leaking=0.5, n_neurons=32, seed=3)
    columns, leaks = behaviour(study), study.column("facts", "leaks") > 0
    fact, template = study.column("queries", "fact"), study.column("queries", "template")
    log_p, answer = study.column("queries", "log_probability"), study.column("queries", "argmax")
    kept = ~leaks[fact]
    usual = {t: log_p[kept & (template == t)].mean(dtype=float) for t in set(template)}
    alike: dict[tuple[str, str], list[bool]] = {}
    for f in np.flatnonzero(~leaks):
        for i, j in combinations(np.flatnonzero(fact == f), 2):
            alike.setdefault((template[i], template[j]), []).append(answer[i] == answer[j])
    assert 10 < leaks.sum() < 30
    for f in np.flatnonzero(~leaks):
        own = np.flatnonzero(fact == f)
        pairs = [np.mean(alike[template[i], template[j]]) for i, j in combinations(own, 2)]
        assert columns["template_log_probability"][f] == pytest.approx(
            np.mean([usual[template[q]] for q in own])
        )
        assert columns["template_agreement"][f] == pytest.approx(
            np.mean(pairs) if pairs else np.nan, nan_ok=True
        )
    assert np.isnan([columns[f"template_{name}"][leaks] for name in ("agreement", "log_probability")]).all()
