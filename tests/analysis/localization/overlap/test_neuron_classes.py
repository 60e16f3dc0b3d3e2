"""Classes of neurons: what the same facts use more is together, and neither templates nor answers decide."""

import numpy as np
import pytest
from scipy import sparse

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.overlap.neuron_classes import (
    StudyClasses,
    classes_of_relation,
    frequent_apart,
    popularity,
    sides,
)


def test_one_class_has_what_the_same_facts_use_more(make_sets):
    """Half of the facts use neurons 0 to 5, half 6 to 11, all as popular: the two kinds are told apart."""
    rng = np.random.default_rng(0)
    rows = [
        (f, t, "a", (6 * (f % 2) + rng.choice(6, size=3, replace=False)).tolist())
        for f in range(40)
        for t in "st"
    ]
    member = sparse.csr_array(make_sets(rows).member.astype(float))[:, :12]
    classes = sides(member, np.tile([0, 1], 40), 1)
    assert not {*classes[:6]} & {*classes[6:]}
    assert not sides(sparse.csr_array(np.ones((4, 5))), np.zeros(4, dtype=int), 3).any()


def test_answers_do_not_take_the_component(rng):
    """Neurons 0 to 9 are of two answers, 10 to 29 are hubs of which facts use more or fewer."""
    answer, template = np.tile(np.repeat([0, 1], 2), 60), np.tile([0, 1], 120)
    share = np.repeat(rng.random(120), 2)
    chance = np.hstack([
        0.9 * (answer[:, None] == np.arange(10)[None, :] // 5),
        np.repeat(0.6 * share[:, None], 20, axis=1),
        np.repeat(0.6 * (1 - share)[:, None], 20, axis=1),
    ])  # fmt: skip
    member = sparse.csr_array((rng.random(chance.shape) < chance).astype(float))
    by_both, by_template = (sides(member, cell, 1)[10:] for cell in (codes(template, answer), template))
    apart = [abs(np.mean(side[:20]) - np.mean(side[20:])) for side in (by_both, by_template)]
    assert apart[0] == 1
    assert apart[1] < 0.75


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_what_is_no_component_of_its_own_parts_nothing(rng, blocks):
    """Sets of so many blocks of ten neurons: other components are empty, or equal, and any basis would do."""
    member = np.repeat(np.repeat(np.eye(blocks), 8, axis=0), 10, axis=1)
    cell = np.tile([0, 1], 4 * blocks)
    found = sides(sparse.csr_array(member), cell, 3)
    assert len({*found}) == (2 if blocks == 2 else 1)  # of three alike, two components are equal
    order = rng.permutation(len(member))
    assert sides(sparse.csr_array(member[order]), cell[order], 3).tolist() == found.tolist()


def test_many_sets_have_the_components_of_few(monkeypatch, rng):
    """By Lanczos' method or all together."""
    member = sparse.csr_array((rng.random((60, 40)) < np.linspace(0.1, 0.6, 40)).astype(float))
    cell = np.arange(60) % 3
    found = sides(member, cell, 3)
    monkeypatch.setattr("qloc.analysis.localization.overlap.neuron_classes._DENSE", 0)
    assert sides(member, cell, 3).tolist() == found.tolist()


def test_frequent_neurons_of_a_template_are_apart():
    member = sparse.csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=float))
    template, classes = np.array([0, 0, 1, 1]), np.zeros(3, dtype=np.int64)
    found = frequent_apart(member, template, [template], classes)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0]]


def test_hubs_of_a_relation_are_in_more_sets_than_a_fact_has(rng):
    """Ten facts, four sets each: neurons 0 to 4 are in all sets of one fact, 5 to 24 in sets of many."""
    fact = np.repeat(np.arange(10), 4)
    share = np.repeat(np.linspace(0, 1, 10), 4)[:, None]
    chance = np.hstack(
        [
            np.repeat((fact == 0)[:, None], 5, axis=1),
            np.repeat(share, 10, axis=1),
            np.repeat(1 - share, 10, axis=1),
        ]
    )
    member = sparse.csr_array((rng.random(chance.shape) < chance).astype(float))
    one = np.zeros(25, dtype=np.int64)
    classes = classes_of_relation(StudyClasses(one, one), member, np.tile(np.arange(4), 10), fact)
    assert len({*classes[:5]}) == 1
    assert not {*classes[:5]} & {*classes[5:]}
    assert not {*classes[5:15]} & {*classes[15:]}  # those that use the one use less of the other
    of_study = StudyClasses(np.arange(25) // 20, np.arange(25) % 2)  # what the study parts is apart here, too
    parted = classes_of_relation(of_study, member, np.tile(np.arange(4), 10), fact)
    assert not {*parted[5:20]} & {*parted[20:]}
    assert not {*parted[5::2]} & {*parted[6::2]}
    assert len({*parted[:5]}) == 1  # but sides only of those in sets of many


def test_popularity_is_by_factors_of_two():
    member = sparse.csr_array((np.arange(16)[:, None] < np.array([16, 9, 8, 5, 4, 1, 0])).astype(float))
    assert popularity(member).tolist() == [3, 2, 2, 1, 1, 0, 0]  # of 16 sets; none counts as one
