"""Scores of answers: by hand on a head of two dimensions, and equal to the whole model's own logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config

from qloc.extract.models.output_head import Head
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.signals.answers import N_TOP, answers_scored, candidate_tokens, scored, token_scores
from qloc.extract.signals.extraction import Extraction


def _queries(extraction: Extraction) -> list[TokenizedQuery]:
    return [query for of_fact in extraction.asking.asked for query in of_fact]


def _head(extraction: Extraction) -> Head:
    loaded = extraction.loaded
    return Head(model=loaded.model, module=loaded.sites.head, chunk_bytes=10**6)


def test_ranks_and_the_likeliest_by_hand() -> None:
    """Logits 3, 1, 1, 0; tokens 1 and 2 tie, and a tie goes to the answer."""
    module = nn.Linear(1, 4, bias=False).double()
    with torch.no_grad():
        module.weight[:] = torch.tensor([[3.0], [1.0], [1.0], [0.0]])
    model: Any = nn.Sequential(module)
    model.config = GPT2Config(vocab_size=4)
    head = Head(model=model, module=module, chunk_bytes=10**6)
    scores = token_scores(head, torch.ones(4, 1, dtype=torch.float64), [0, 1, 2, 3])
    assert scores.rank.tolist() == [1, 2, 2, 4]
    assert scores.argmax.tolist() == [0] * 4
    total = np.log(np.exp([3.0, 1.0, 1.0, 0.0]).sum())
    np.testing.assert_allclose(scores.log_probability, np.array([3.0, 1.0, 1.0, 0.0]) - total, rtol=1e-12)
    assert scores.top_token.shape == (4, min(N_TOP, 4))
    assert scores.top_token[0, 0] == 0
    np.testing.assert_allclose(scores.top_log_probability[0], [3 - total, 1 - total, 1 - total, -total])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_whole_answers_are_sums_and_worst_ranks(kind: str, extraction_of: Callable[..., Extraction]) -> None:
    extraction = extraction_of(kind)
    queries, model = _queries(extraction), extraction.loaded.model
    found = answers_scored(extraction.loaded, _head(extraction), queries)
    assert max(len(query.targets) for query in queries) > 1
    for query, (log_probability, rank) in zip(queries, found, strict=True):
        logs, ranks = [], []
        for target in query.targets:
            with torch.no_grad():
                log = model(input_ids=torch.tensor([target.ids])).logits[0, target.position].log_softmax(-1)
            logs.append(float(log[target.token]))
            ranks.append(int((log > log[target.token]).sum()) + 1)
        assert log_probability == pytest.approx(sum(logs), rel=1e-9)
        assert rank == max(ranks)


def test_scores_come_in_the_order_of_targets(extraction_of: Callable[..., Extraction]) -> None:
    extraction = extraction_of("gpt2")
    targets = [target for query in _queries(extraction) for target in query.targets]
    assert len({len(target.ids) for target in targets}) > 1
    forth = scored(extraction.loaded, _head(extraction), targets)
    back = scored(extraction.loaded, _head(extraction), targets[::-1])
    for (one, rank), (other, again) in zip(forth, back[::-1], strict=True):
        assert one == pytest.approx(other, rel=1e-12)
        assert rank == again
    assert scored(extraction.loaded, _head(extraction), []) == []


def test_candidates_of_several_tokens_have_none(extraction_of: Callable[..., Extraction]) -> None:
    extraction = extraction_of("gpt2")
    encoder, query = extraction.source.encoder(), _queries(extraction)[0]
    tokens = candidate_tokens(encoder, query, ["Paris", "Ouagadougou", "Nairobi"])
    assert tokens.tolist()[1] == -1
    assert tokens[0] == query.targets[0].token
    assert encoder.tokenizer.decode([int(tokens[2])]).strip() == "Nairobi"
