"""Tokens that neurons promote and suppress, against all products at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.signals import neuron_tokens
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.neuron_tokens import ends, strongest, token_texts, vocabulary_of


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_tokens_are_the_ends_of_all_products(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block], kind: str
) -> None:
    extraction = extraction_of(kind)
    block, sites = block_of(extraction), extraction.loaded.sites
    rows = torch.cat([down_weight(down).T for down in sites.downs]).detach().numpy()
    products = rows @ down_weight(sites.head).detach().numpy().T
    tokens = block.tokens
    maximum = block.attribution.max((2, 3), keepdims=True)
    reaches = (block.attribution >= 0.05 * maximum) & (block.attribution > 0)
    assert tokens["number"].tolist() == np.flatnonzero(reaches.any((0, 1))).tolist()
    size = min(10, products.shape[1])
    for row, neuron in enumerate(tokens["number"]):
        order = np.argsort(-products[neuron], kind="stable")
        assert tokens["promoted_token_id"][row].tolist() == [*order[:size], *[-1] * (10 - size)]
        assert tokens["suppressed_token_id"][row].tolist() == [*order[::-1][:size], *[-1] * (10 - size)]
    assert extraction.outline.vocabulary == products.shape[1]
    text = dict(zip(tokens["token_id"].tolist(), tokens["token"], strict=True))
    wanted = np.concatenate([tokens["promoted_token_id"], block.queries["top_token_id"]], axis=None)
    assert set(wanted[wanted >= 0].tolist()) <= set(text)
    decode = extraction.source.tokenizer.decode
    for token, word in text.items():
        assert word == decode([token], clean_up_tokenization_spaces=False).replace("\0", "␀")


def _sites(rows: torch.Tensor, words: torch.Tensor) -> Sites:
    down, head = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))
    down.weight, head.weight = torch.nn.Parameter(rows.T.contiguous()), torch.nn.Parameter(words)
    return Sites(blocks=(down,), downs=(down,), head=head)


def test_pieces_of_any_size_give_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers, so that products are exact: the same ends, whatever is cut, and the smaller id first."""
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.permuted(np.tile(np.arange(-4.0, 5.0), (7, 1)), axis=1), dtype=torch.bfloat16)
    words = torch.tensor(2.0 ** np.arange(40)[:, None] * np.eye(9)[np.arange(40) % 9], dtype=torch.bfloat16)
    sites, neurons = _sites(rows, words), np.array([1, 2, 6], np.int32)
    whole = ends(sites, neurons, 35)
    products = (rows.float() @ words.float().T).numpy()[:, :35]
    for got, order in zip(whole, (np.argsort(-products, 1), np.argsort(products, 1)), strict=True):
        values, expected = (
            np.take_along_axis(products[neurons], at[:, :10], 1) for at in (got, order[neurons])
        )
        np.testing.assert_array_equal(values, expected)
        assert all(np.diff(at[row == value]).min(initial=1) > 0 for at, row in zip(got, values, strict=True) for value in row)  # fmt: skip
    monkeypatch.setattr(neuron_tokens, "_ROWS", 2)
    monkeypatch.setattr(neuron_tokens, "_WORDS", 3)
    np.testing.assert_array_equal(ends(sites, neurons, 35), whole)


def test_without_products_there_are_no_tokens() -> None:
    rows, words = torch.zeros(4, 6), torch.zeros(5, 6)
    assert vocabulary_of(_sites(rows, words)) == 5
    assert vocabulary_of(_sites(rows, torch.zeros(5, 3))) == 0  # a factorized embedding
    sites = _sites(rows, words)
    assert vocabulary_of(replace(sites, head=torch.nn.Identity())) == 0
    assert vocabulary_of(replace(sites, head=sites.head.to("meta"))) == 0


def test_strongest_are_the_largest_shares_of_maxima(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.array([[[[1.0, 0.5], [0.2, 0.01]], [[-1.0, -2.0], [0.0, np.nan]], [[0.3, 8.0], [4.0, 0.1]]]])
    assert strongest(scores, 0.05).tolist() == [0, 1, 2]
    assert strongest(scores, 0.0).tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(neuron_tokens, "MOST_NEURONS", 2)
    assert strongest(scores, 0.0).tolist() == [0, 1]


def test_texts_keep_the_space_in_front_and_have_no_nul() -> None:
    pieces, decoded = ["▁Paris", "Ġx", "\0", "##s"], ["Paris", " x", "\0", "s"]

    class Tokenizer:
        convert_ids_to_tokens = staticmethod(pieces.__getitem__)

        def __len__(self) -> int:
            return len(pieces)

        def decode(self, ids: list[int], **_: object) -> str:
            return decoded[ids[0]]

    tokenizer = Tokenizer()
    assert token_texts(tokenizer, np.arange(5, dtype=np.int32)).tolist() == [" Paris", " x", "␀", "s", ""]
