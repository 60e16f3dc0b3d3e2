"""Overlap net of set sizes and popularity: by enumeration, and where sizes or hubs alone differ."""

from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap import margins
from qloc.analysis.localization.overlap.excess import excesses
from qloc.analysis.localization.overlap.margins import (
    PREDICTION_ERROR,
    _beyond,
    net_excess,
    net_p,
)
from qloc.analysis.localization.overlap.query_pairs import LEVELS
from qloc.simulation.planted import plant


def _all_with_margins(member):
    """Every 0/1 matrix with the row and column sums of this one."""
    width = member.shape[1]
    rows = [[np.isin(np.arange(width), c) for c in combinations(range(width), int(k))] for k in member.sum(1)]
    every = (np.array(choice) for choice in product(*rows))
    return [m for m in every if (m.sum(0) == member.sum(0)).all()]


def test_expected_overlap_is_that_of_all_memberships_with_the_same_margins(rng):
    """Two strata of four sets, neurons of one class: the mean over all exchanges that keep both margins.

    The fit is of most entropy, which differs a little from the mean over so few exchanges.
    """
    member = rng.random((8, 6)) < 0.4
    member[:, 0] = [1, 0, 0, 1, 1, 0, 1, 0]
    stratum = np.repeat([0, 1], 4)
    first, second = np.arange(4), np.arange(4, 8)
    means = [np.mean(_all_with_margins(member[stratum == s]), axis=0) for s in (0, 1)]
    of_strata = [member[stratum == s].mean(axis=0) for s in (0, 1)]
    expected = ((means[0] - of_strata[0]) * (means[1] - of_strata[1])).sum(axis=1)
    together = ((member[:4] - of_strata[0]) * (member[4:] - of_strata[1])).sum(axis=1)
    beyond = _beyond(
        sparse.csr_array(member.astype(float)), stratum, np.zeros((2, 6), dtype=np.int64), first, second
    )
    np.testing.assert_allclose(together - beyond, expected, atol=0.05)


@pytest.mark.parametrize("level", ["template", "answer"])
def test_every_set_and_every_neuron_keeps_its_number(monkeypatch, level):
    """Of planted sets, some of a size of their own or with hubs: to a millionth, where scaling was off by 0.03."""
    sets = filled(
        considered(plant(facts=120, relations=4, templates=4, hubs=6.0, size_spread=0.3, seed=1).sets())
    )
    found, fit = [], margins._memberships

    def kept(of):
        found.append((of, fit(of)))
        return found[-1][1]

    monkeypatch.setattr(margins, "_memberships", kept)
    net_excess(sets, level)
    assert len(found) > 2
    for of, p in found:
        np.testing.assert_allclose(np.bincount(of.of_kind, weights=p), of.n_sets, atol=1e-6)
        neurons = np.bincount(of.of_row, weights=p * of.n_neurons[of.of_kind], minlength=len(of.size))
        np.testing.assert_allclose(neurons, of.size, atol=1e-6)


@pytest.mark.parametrize("level", ["template", "answer"])
def test_the_order_of_queries_does_not_matter(rng, level):
    """The sign of the first component is chance, and neurons that are alike differ in its last digits."""
    sets = filled(considered(plant(facts=120, relations=4, templates=5, hubs=3.0, seed=2).sets()))
    for _ in range(4):
        order = rng.permutation(sets.n_queries)
        other = replace(
            sets,
            member=sparse.csr_array(sets.member[order]),
            queries={name: column[order] for name, column in sets.queries.items()},
        )
        np.testing.assert_allclose(net_excess(other, level), net_excess(sets, level), atol=1e-9)


def _sets(make_sets, rng, large, hub):
    """40 facts × 3 templates: sets of 4 or 12 of 28 neurons, or of 5 with 3 or 1 of 4 hubs."""
    rows = []
    for fact in range(40):
        more = fact % 2
        for template in "stu":
            n_hubs = (3 if more else 1) if hub else 0
            size = (12 if more else 4) if large else 5
            hubs = rng.choice(4, size=n_hubs, replace=False)
            others = 4 + rng.choice(28, size=size - n_hubs, replace=False)
            rows.append((fact, template, f"a{fact % 4}", [*hubs.tolist(), *others.tolist()]))
    return make_sets(rows)


@pytest.mark.parametrize(("large", "hub"), [(True, False), (False, True)])
@pytest.mark.parametrize("level", ["template", "answer"])
def test_sizes_and_hubs_alone_make_no_excess(make_sets, level, large, hub):
    """Mean over 12 draws within four standard errors of 0, or a tenth of what raw overlaps exceed by."""
    means = [
        np.nanmean(net_excess(_sets(make_sets, np.random.default_rng(seed), large, hub), level))
        for seed in range(12)
    ]
    assert abs(np.mean(means)) < max(4 * np.std(means) / np.sqrt(12), 0.005)


def test_facts_of_their_own_neurons_are_found():
    """Most neurons of a fact's sets are its own: what margins predict takes a fifth of the raw excess at most.

    With hubs of each relation held it takes more: many facts have each of so few neurons.
    """
    planting: dict[str, Any] = {
        "answer_strength": 0.0,
        "fact_strength": 0.8,
        "template_strength": 0.1,
        "one_to_one": 0,
    }
    planted = plant(
        facts=80, relations=4, templates=3, n_neurons=64, answers_per_relation=2, seed=3, **planting
    )
    sets = filled(considered(planted.sets()))
    raw = excesses(sets, ("answer",), n_permutations=0)["answer"].estimate
    of_study, net = (net_excess(sets, "answer", hubs_of_relations=held) for held in (False, True))
    assert 0.8 * raw < np.nanmean(of_study) < 1.05 * raw
    assert 0.3 * raw < np.nanmean(net) < np.nanmean(of_study)
    assert max(net_p(sets, one, "answer")[0] for one in (of_study, net)) < 0.001
    assert np.isnan(net_p(sets, net[:1], "answer")[0])


def test_a_fact_without_another_is_not_identified(make_sets):
    net = net_excess(make_sets([(0, "s", "a", [1]), (0, "t", "a", [1]), (1, "u", "a", [1])]), "template")
    assert np.isnan(net).all()


@pytest.mark.parametrize("level", LEVELS)
def test_less_than_the_prediction_may_be_off_by_is_nothing(rng, level):
    """Half of it is neither more nor less, however sure; twice it is more, and as much below 0 is less."""
    sets = plant(facts=60, relations=6, templates=3, seed=1).sets()
    least = PREDICTION_ERROR[level]
    noise = least / 10 * rng.normal(size=60)
    for mean, more, less in (
        (0.5, False, False),
        (2.0, True, False),
        (-0.5, False, False),
        (-2.0, False, True),
    ):
        p, opposite, _ = net_p(sets, mean * least + noise, level)
        assert (p < 0.001, opposite < 0.001) == (more, less)
        assert more or less or min(p, opposite) == pytest.approx(1)
    flat = np.full(60, 2 * least)
    p, opposite, _ = net_p(sets, flat, level)  # no scale for t: as of flips of the answers' signs
    assert 0 < p < 1e-6
    assert opposite == 1
