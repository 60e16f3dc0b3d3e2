"""Matched controls: as many others, of the same layers and as strong as can be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn
from transformers.pytorch_utils import Conv1D

from qloc.extract.models.architectures import Sites
from qloc.extract.passes.matched_controls import matched, output_norms, total_strength

N_LAYERS, N_NEURONS = 3, 40


def _own(*rows: list[int], width: int = N_LAYERS * N_NEURONS) -> sparse.csr_array:
    dense = np.zeros((len(rows), width), dtype=bool)
    for row, members in enumerate(rows):
        dense[row, members] = True
    return sparse.csr_array(dense)


def test_norms_are_those_of_what_a_neuron_writes() -> None:
    """A linear layer keeps what neuron 0 writes in a column, GPT-2's Conv1D in a row."""
    linear, conv = nn.Linear(2, 3, bias=False), Conv1D(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 0.0], [4.0, 1.0], [0.0, 0.0]]))
        conv.weight.copy_(torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, -7.0]]))
    for down, expected in ((linear, [5, 1]), (conv, [3, 7])):
        sites = Sites(blocks=(nn.Identity(),), downs=(down.requires_grad_(False),), head=nn.Identity())
        found = output_norms(sites)
        assert found.dtype == np.float64
        assert found.tolist() == [expected]


def test_controls_are_as_strong_in_total_and_of_the_same_layers(rng: np.random.Generator) -> None:
    """Sets of the strongest neurons but one in ten: deciles leave them half as strong again as their controls."""
    strength = rng.exponential(size=(30, N_LAYERS, 400))
    order = strength.reshape(30, -1).argsort(axis=1)[:, ::-1]
    own = _own(*[np.sort(row[2:60:4]).tolist() for row in order], width=N_LAYERS * 400)
    seeds = [[7, query] for query in range(30)]
    found = matched(own, strength, seeds)
    assert (found.indptr == own.indptr).all()
    for query in range(30):
        mine, theirs = (sets[[query]].indices for sets in (own, found))
        assert not set(mine) & set(theirs)
        assert sorted(mine // 400) == sorted(theirs // 400)
    totals = [
        total_strength(sets, strength) for sets in (own, found, matched(own, strength, seeds, "decile"))
    ]
    expected = [strength[query].ravel()[own[[query]].indices].sum() for query in range(30)]
    np.testing.assert_allclose(totals[0], expected)
    np.testing.assert_allclose(totals[1], totals[0], rtol=0.01)
    assert np.mean(totals[0] / totals[2]) > 1.2


def test_what_stronger_neurons_lack_weaker_ones_make_up_for() -> None:
    """9 gets 7 or 6.1; then 3 gets what is nearest to 3 + 2 or to 3 + 2.9."""
    strength = np.array([[[9.0, 7.0, 6.0, 3.0, 5.1, 6.1, 2.0, 1.0]]])
    drawn = {tuple(matched(_own([0, 3], width=8), strength, [[seed]]).indices.tolist()) for seed in range(20)}
    assert drawn == {(1, 4), (2, 5)}  # 7 + 5.1 or 6.1 + 6, of 12


def test_controls_match_in_layer_number_and_decile(rng: np.random.Generator) -> None:
    strength = rng.exponential(size=(4, N_LAYERS, N_NEURONS))
    members = [sorted(rng.choice(N_LAYERS * N_NEURONS, size=8, replace=False).tolist()) for _ in range(4)]
    own = _own(*members)
    found = matched(own, strength, [[7, query] for query in range(4)], "decile")
    assert found.shape == own.shape
    assert found.dtype == np.bool_
    for query in range(4):
        ours, theirs = (set(np.flatnonzero(sets.toarray()[query])) for sets in (own, found))
        assert not ours & theirs

        def profile(numbers: set[Any], query: int = query) -> list[tuple[int, int]]:
            """Layer and decile of each neuron, by sorting."""
            ranks = strength[query].argsort(1).argsort(1)
            return sorted(
                (int(n) // N_NEURONS, int(ranks[n // N_NEURONS, n % N_NEURONS]) // 4) for n in numbers
            )

        # four neurons a decile, of which at most two were drawn here: there are always others
        assert profile(theirs) == profile(ours)


def test_each_query_is_drawn_by_its_own_seed(rng: np.random.Generator) -> None:
    strength = np.broadcast_to(rng.exponential(size=(N_LAYERS, N_NEURONS)), (3, N_LAYERS, N_NEURONS))
    own = _own(*[list(range(0, 120, 10))] * 3)
    found = matched(own, strength, [[1, 0], [1, 1], [1, 0]]).toarray()
    assert (found[0] == found[2]).all()
    assert (found[0] != found[1]).any()
    alone = matched(own[[1]], strength[:1], [[1, 1]]).toarray()
    assert (alone[0] == found[1]).all()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([9], [8]),  # the strongest neuron has its decile for itself: the next in strength
        ([0], [1]),
        ([3, 4, 5], None),
        ([], []),
    ],
)
def test_the_next_in_strength_serve_where_a_decile_is_empty(
    members: list[int], expected: list[int] | None
) -> None:
    """Ten neurons: each is a decile."""
    found = matched(_own(members, width=10), np.arange(10.0)[None, None], [[0]], "decile").indices.tolist()
    if expected is None:  # 3 → 2; then 4 → 6 (2 is taken); then 5 → 7
        expected = [2, 6, 7]
    assert found == expected


def test_a_layer_that_is_all_in_the_set_gives_fewer() -> None:
    own = _own([0, 1, 2, 3], [0, 1, 2, 4], width=8)
    strength = np.ones((2, 2, 4))
    found = matched(own, strength, [[0], [0]]).toarray()
    assert np.flatnonzero(found[0]).tolist() == []
    assert np.flatnonzero(found[1])[:1].tolist() == [3]  # the one that is left
    assert found[1].sum() == 2
