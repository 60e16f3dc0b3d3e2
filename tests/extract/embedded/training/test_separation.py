"""Do own neurons tell the classes apart: the brute force, checked by hand and by completeness."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.extract.embedded import facts_path
from qloc.extract.embedded.training.corpus import (
    FactClass,
)
from qloc.extract.embedded.training.separation import (
    Prompts,
    activations,
    attributions,
    consistency,
    drawn_queries,
    neuron_sets,
    prompts,
    random_sets,
    separation,
    suppressed,
)

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast]


def test_own_neurons_matter_and_random_ones_do_not(model: Loaded) -> None:
    network, tokenizer = model
    rng = np.random.default_rng(0)
    queries = [
        q for of_class in drawn_queries(tokenizer, facts_path(), 2, rng).values() for q in of_class if q.seen
    ]
    asked_of = prompts(tokenizer, queries[::2])
    sets = neuron_sets(attributions(network, asked_of))
    nothing = np.zeros_like(sets)
    before, own, random = (
        suppressed(network, asked_of, chosen) for chosen in (nothing, sets, random_sets(sets, rng))
    )
    assert np.median(own / before) < 0.9
    assert np.median(random / before) > 0.95
    assert np.mean(own < random) > 0.7


def test_attributions_are_complete(model: Loaded) -> None:
    """Summed over a layer's neurons, integrated gradients are P(answer) minus P with that layer at zero."""
    network, tokenizer = model
    queries = drawn_queries(tokenizer, facts_path(), 1, np.random.default_rng(0))["wide"]
    asked_of = prompts(tokenizer, queries[:4])
    scores = attributions(network, asked_of)
    assert scores.shape == activations(network, asked_of).shape
    none = np.zeros(scores.shape, dtype=bool)
    before = suppressed(network, asked_of, none)
    for layer in range(scores.shape[1]):
        whole = none.copy()
        whole[:, layer] = True
        gone = before - suppressed(network, asked_of, whole)
        # 20 midpoints: the rule's error is of the order of a percent of the largest total.
        np.testing.assert_allclose(scores[:, layer].sum(-1), gone, atol=0.05)


def test_consistency_by_hand() -> None:
    # c = 2, 1, 1 over two sets {0, 1} and {0, 2}: CS2 = 1/3, D = 2·1/(1·4).
    sets = np.array([[[True, True, False]], [[True, False, True]], [[False, False, False]]])
    assert consistency(sets) == pytest.approx((1 / 3, 1 / 2))
    assert np.isnan(consistency(sets[1:])).all()


def test_sets_are_over_a_share_of_the_largest_and_random_ones_as_large() -> None:
    scores = np.array([[[1.0, 0.2, 0.21], [0.0, -3.0, 0.5]]], dtype=np.float32)
    sets = neuron_sets(scores)
    assert sets.tolist() == [[[True, False, True], [False, False, True]]]
    drawn = random_sets(np.repeat(sets, 50, 0), np.random.default_rng(0))
    assert (drawn.sum(-1) == sets.sum(-1)).all()
    assert drawn.any(0).all()


def test_prompts_are_cut_by_rows(model: Loaded) -> None:
    _, tokenizer = model
    queries = drawn_queries(tokenizer, facts_path(), 1, np.random.default_rng(0))
    assert {name: len({q.fact for q in of_class}) for name, of_class in queries.items()} == dict.fromkeys(
        get_args(FactClass), 1
    )
    whole = prompts(tokenizer, queries["wide"])
    assert len(whole) == len(queries["wide"]) == 8
    assert isinstance(whole[2:5], Prompts)
    for row, query in enumerate(queries["wide"]):
        answer = query.sentence.text[query.sentence.start : query.sentence.stop]
        assert str(tokenizer.decode([int(whole.target[row])])).strip() == answer
    assert torch.equal(whole[2:5].target, whole.target[2:5])


def test_one_class_in_a_row(model: Loaded) -> None:
    network, tokenizer = model
    rng = np.random.default_rng(0)
    queries = drawn_queries(tokenizer, facts_path(), 2, rng)["wide"]
    row = separation(network, tokenizer, queries, rng)
    assert row.facts == 2
    assert 0 < row.known <= 8
    assert 0 <= row.cs2_known <= 1
    assert 0 <= row.dice_all <= 1
    assert row.own < row.random
