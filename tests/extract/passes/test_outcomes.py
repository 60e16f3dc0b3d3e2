"""Outcomes read from hidden states are those of the whole softmax, however the rows are cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qloc.extract.models.output_head import Head
from qloc.extract.passes import outcomes as read
from qloc.extract.passes.fused_gelu import fused
from qloc.extract.passes.outcomes import log_probabilities, outcomes

VOCABULARY, WIDTH = 40, 6


class _Model(nn.Module):
    """As much of a model as a head asks for; the last two words have one embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False).double().requires_grad_(False)
        self.head.weight[-1] = self.head.weight[-2]
        self.config = self

    vocab_size = VOCABULARY

    def get_text_config(self) -> _Model:
        return self


def _head(rows_a_chunk: int = 100) -> Head:
    model = _Model()
    return Head(model=model, module=model.head, chunk_bytes=4 * 8 * VOCABULARY * rows_a_chunk)


@pytest.mark.parametrize("row", [[0, 1, 2, 3, 4], [0, 0, 1, 3, 3, 4], [1, 1, 1, 1, 1]])
@pytest.mark.parametrize("cached", [1, VOCABULARY * 8 * 2, 2**20])
def test_outcomes_of_tokens_that_share_rows(
    row: list[int], cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_CACHED_BYTES", cached)
    head, hidden = _head(3), torch.randn(5, WIDTH, dtype=torch.float64)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, VOCABULARY, size=len(row))
    found = outcomes(head, hidden, tokens, np.array(row))
    for place, (of, token) in enumerate(zip(row, tokens.tolist(), strict=True)):
        logits = hidden[of] @ head.module.weight.T
        rest = torch.cat([logits[:token], logits[token + 1 :]])
        expected = (
            float(logits.log_softmax(0)[token]),
            float(logits[token]),
            float(logits[token] - rest.max()),
        )
        got = found.log_probability[place], found.logit[place], found.margin[place]
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        assert found.rank[place] == 1 + int((rest > logits[token]).sum())
        assert found.argmax[place] == int(logits.argmax())
    if len(row) == len(hidden):
        logs = log_probabilities(head, hidden[row], tokens)
        np.testing.assert_allclose(logs, found.log_probability, rtol=1e-12)


def test_ties_go_to_the_answer() -> None:
    head = _head()
    hidden = 10 * head.module.weight[-1:]
    found = outcomes(head, hidden, [VOCABULARY - 1, VOCABULARY - 2], np.array([0, 0]))
    assert found.rank.tolist() == [1, 1]
    assert found.margin.tolist() == [0, 0]


def test_no_activation_function_stays_fused() -> None:
    from transformers.activations import NewGELUActivation

    module, seen = nn.Sequential(NewGELUActivation(), nn.GELU()), []

    def fail(*_: object) -> None:
        seen.extend("forward" in vars(part) for part in module)
        raise ZeroDivisionError

    module.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError), fused(module):
        module(torch.zeros(1))
    assert seen == [True, False]
    assert not any("forward" in vars(part) for part in module)
