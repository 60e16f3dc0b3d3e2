"""One unit by all its arrays: attributions, gradients and gaps against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.errors import ModelError
from qloc.extract.signals.extraction import Extraction


def test_attribution_is_the_mean_over_answer_tokens_and_the_gap_their_largest(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    every, first = (block_of(extraction_of("gpt2", answer_tokens=which)) for which in ("all", "first"))
    tokens = (every.queries["answer_token_id"] >= 0).sum(1)
    single = tokens == 1
    assert single.any()
    assert (~single).any()
    np.testing.assert_allclose(every.attribution[:, single], first.attribution[:, single], rtol=0, atol=1e-15)
    assert np.abs(every.attribution[:, ~single] - first.attribution[:, ~single]).max() > 1e-6
    assert (every.completeness_gap[0] >= first.completeness_gap[0] - 1e-6).all()
    np.testing.assert_allclose(every.queries["log_probability"], first.queries["log_probability"], rtol=1e-6)


def test_grad_x_act_is_activation_times_gradient_for_one_token(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    block = block_of(extraction_of("gpt2", answer_tokens="first"))
    np.testing.assert_allclose(block.attribution[1], block.activation * block.gradient, rtol=1e-12)
    assert np.isnan(block.completeness_gap[1]).all()


def test_grams_are_inner_products_of_full_vectors(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    extraction = extraction_of("gpt2")
    block = block_of(extraction)
    vectors = block.attribution.reshape(2, block.attribution.shape[1], -1)
    counts, start = extraction.outline.facts["n_queries"], 0
    for fact, k in enumerate(counts):
        own = vectors[:, start : start + k]
        np.testing.assert_allclose(block.gram[:, fact, :k, :k], own @ own.transpose(0, 2, 1), rtol=1e-12)
        assert np.isnan(block.gram[:, fact, k:]).all()
        start += k
    assert np.isfinite(
        block.null_gram[:, 2, 0, 0]
    ).all()  # one query: any other fact with that template serves
    assert np.isnan(block.null_gram[:, 0]).all()  # three templates, two other facts: too few


def test_nan_is_named_by_query_not_hidden(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    extraction = extraction_of("llama", answer_tokens="first")  # its embeddings are not tied to its head
    first_facts_ids = extraction.asking.asked[0][0].targets[0].ids
    kenya = next(id for id in extraction.asking.asked[1][0].targets[0].ids if id not in first_facts_ids)
    assert extraction.outline.sizes["query"] == 6
    with torch.no_grad():
        extraction.loaded.model.model.embed_tokens.weight[kenya] = torch.nan
    with pytest.raises(ModelError) as caught:
        block_of(extraction)
    words = (
        "the model's output is 'NaN or infinite'; expected finite numbers. At query {!r} of fact 'f1'. Try --dtype "
        "float32, or leave the query out."
    )
    assert str(caught.value) in {words.format(one.prompt) for one in extraction.asking.asked[1]}


def test_units_do_not_depend_on_each_other(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    whole = block_of(extraction_of("gpt2"))
    apart = extraction_of("gpt2", unit_facts=1)
    again = apart.extract(apart.outline.units[1])
    np.testing.assert_allclose(again.attribution, whole.attribution[:, 3:5], rtol=0, atol=1e-12)
    assert again.queries["fact"].tolist() == [1, 1]
    once_more = apart.extract(apart.outline.units[1])
    assert all(
        np.array_equal(getattr(again, n), getattr(once_more, n))
        for n in ("attribution", "activation", "gradient")
    )
