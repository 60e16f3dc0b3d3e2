"""REML's components: those of statsmodels for one neuron, unbiased for many, with intervals that cover."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap.variance_components import (
    MOST_QUERIES,
    SOURCES,
    Queries,
    components,
    queries_by_relation,
)
from qloc.simulation.planted import plant

TRUE = np.array([0.5, 0.8, 0.4, 0.3, 1.0])


def drawn(rng, n_neurons=1, scale=1.0, n_facts=24, n_templates=5):
    """Queries of one relation, each neuron's values with the variances TRUE."""
    template = np.tile(np.arange(n_templates), n_facts)
    fact = np.repeat(np.arange(n_facts), n_templates)
    groups = template, fact // 3, codes(template, fact // 3), fact
    values = rng.normal(size=(len(fact), n_neurons)) * np.sqrt(TRUE[-1])
    for variance, group in zip(TRUE, groups, strict=False):
        values += rng.normal(size=(group.max() + 1, n_neurons))[group] * np.sqrt(variance)
    values = scale * (values + 3.0)
    return values, Queries(values @ values.T, groups)


def test_of_one_neuron_they_are_those_of_a_mixed_model(rng):
    """Of statsmodels, REML, crossed effects as components of one group: it stops at a gradient of 1e-4."""
    values, queries = drawn(rng)
    names = ("template", "answer", "both", "fact")
    frame = pd.DataFrame(dict(zip(names, queries.groups, strict=True))).assign(y=values[:, 0], one=1)
    formulas = {name: f"0 + C({name})" for name in names}
    fitted = sm.MixedLM.from_formula("y ~ 1", frame, groups="one", vc_formula=formulas).fit(reml=True)
    expected = np.array(
        [*(fitted.vcomp[fitted.model.exog_vc.names.index(name)] for name in names), fitted.scale]
    )
    found = components([queries])
    assert found is not None
    np.testing.assert_allclose(found.shares, expected / expected.sum(), atol=1e-3)


def test_they_are_the_planted_ones_whatever_the_scale(rng):
    """200 neurons a relation, 12 relations: a share has an error of under a hundredth."""
    shares = []
    for scale in (1.0, 100.0):
        state = np.random.default_rng(1)
        found = components([drawn(state, 200, scale)[1] for _ in range(12)])
        assert found is not None
        shares.append(found.shares)
    np.testing.assert_allclose(shares[0], TRUE / TRUE.sum(), atol=0.02)
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-6)
    assert shares[0].sum() == pytest.approx(1)


def test_intervals_cover():
    """Eight relations of 12 facts; 95% less three standard errors of 100 trials is 88%."""
    held = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found = components([drawn(rng, 40, n_facts=12, n_templates=3)[1] for _ in range(8)])
        assert found is not None
        held.append(
            [
                interval is not None and interval.low <= share <= interval.high
                for interval, share in zip(found.intervals, TRUE / TRUE.sum(), strict=True)
            ]
        )
    assert (np.mean(held, axis=0) > 0.88).all(), np.mean(held, axis=0)


def test_few_relations_have_no_interval(rng):
    found = components([drawn(rng, 8)[1] for _ in range(4)])
    assert found is not None
    assert found.intervals == (None,) * 5
    assert (found.n_relations, found.n_facts) == (4, 96)


def test_who_enters():
    sets = filled(
        considered(plant(facts=400, relations=4, templates=4, answers_per_relation=8, seed=2).sets())
    )
    chosen = queries_by_relation(sets, seed=0)
    assert sorted(chosen) == ["R01", "R02", "R03"]  # in R04 each fact has its own answer
    for queries in chosen.values():
        template, answer, _, fact = queries.groups
        assert len(fact) <= MOST_QUERIES
        assert np.diag(queries.gram) == pytest.approx(1)
        facts_of = [len(np.unique(fact[answer == one])) for one in np.unique(answer)]
        assert 2 <= max(facts_of) <= 4
        assert len(np.unique(template)) == 4
    other = queries_by_relation(sets, seed=1)
    assert any(
        len(other[name].gram) != len(chosen[name].gram) or (other[name].gram != chosen[name].gram).any()
        for name in chosen
    )
    assert components(list(chosen.values())) is not None


def test_many_queries_a_fact_leave_several_answers():
    """Two facts of each answer enter before third ones."""
    planting: dict[str, Any] = {"facts": 48, "relations": 2, "answers_per_relation": 4, "one_to_one": 0}
    chosen = queries_by_relation(filled(considered(plant(templates=40, **planting).sets())))
    assert len(chosen) == 2
    for queries in chosen.values():
        assert len(np.unique(queries.groups[1])) > 1
        assert len(queries.gram) <= MOST_QUERIES


def test_one_fact_of_a_subject_enters():
    """Facts 0 and 1, 2 and 3, … have one subject, whose prompts are the same: of 32 facts 16 enter at most."""
    planting: dict[str, Any] = {"facts": 32, "relations": 1, "answers_per_relation": 8, "one_to_one": 0}
    sets = filled(considered(plant(templates=4, **planting).sets()))
    subject = sets.facts["subject"].copy()
    subject[1::2] = subject[::2]
    entered = []
    for facts in (sets.facts, {**sets.facts, "subject": subject}):
        chosen = [queries_by_relation(replace(sets, facts=facts), seed)["R01"] for seed in range(10)]
        entered.append(max(len(np.unique(queries.groups[-1])) for queries in chosen))
    assert entered[0] > 16 >= entered[1]


def test_where_one_relation_alone_tells_a_source_there_is_no_interval(rng):
    """Facts of one query each do not tell fact from query."""
    one = [drawn(rng, 8, n_templates=1)[1] for _ in range(6)]
    relations = [
        Queries(q.gram, (q.groups[3] % 5, q.groups[1], codes(q.groups[3] % 5, q.groups[1]), q.groups[3]))
        for q in one
    ]
    assert components(relations) is None
    found = components([*relations, drawn(rng, 8)[1]])
    assert found is not None
    assert found.intervals == (None,) * 5


def test_what_is_planted_is_found():
    """Strong answers and no facts, and the other way round."""
    planting: dict[str, Any] = {
        "facts": 240,
        "relations": 7,
        "templates": 4,
        "answers_per_relation": 8,
        "seed": 5,
        "one_to_one": 0,
    }
    for answer, fact in ((0.5, 0.0), (0.0, 0.5)):
        sets = filled(considered(plant(**planting, answer_strength=answer, fact_strength=fact).sets()))
        found = components(list(queries_by_relation(sets).values()))
        assert found is not None
        share = dict(zip(SOURCES, found.shares, strict=True))
        strong, weak = ("answer", "fact") if answer else ("fact", "answer")
        assert abs(share[weak]) < 0.02 < 0.1 < share[strong]
        interval = found.intervals[SOURCES.index(weak)]
        assert interval is not None
        assert interval.low < 0.001  # of two intervals, one may miss 0 by little
