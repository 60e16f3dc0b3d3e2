"""Answer probability and its gradient: the closed form equals autograd, chunked equals whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from qloc.extract.head import Head

VOCABULARY = 50


def _head(chunk_rows: int, **settings: float) -> Head:
    config = SimpleNamespace(vocab_size=VOCABULARY, **settings)
    config.get_text_config = lambda: config
    torch.manual_seed(0)
    module = torch.nn.Linear(8, VOCABULARY, dtype=torch.float64).requires_grad_(False)
    return Head(
        model=SimpleNamespace(config=config), module=module, chunk_bytes=4 * 8 * VOCABULARY * chunk_rows
    )


@pytest.mark.parametrize(
    "settings", [{}, {"final_logit_softcapping": 3.0}, {"logit_scale": 0.5}, {"logits_scaling": 4.0}]
)
@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_probability_and_gradient_equal_autograd(settings: dict[str, float], chunk_rows: int) -> None:
    head = _head(chunk_rows, **settings)
    assert head.rows_a_chunk() == chunk_rows
    hidden = torch.randn(7, 8, dtype=torch.float64, requires_grad=True)
    token = torch.randint(VOCABULARY, (7,))
    upstream = torch.randn(7, dtype=torch.float64)
    ours = head.probability(hidden, token)
    (gradient,) = torch.autograd.grad((ours * upstream).sum(), hidden)
    plain = head.logits(hidden).softmax(-1)[torch.arange(7), token]
    (expected,) = torch.autograd.grad((plain * upstream).sum(), hidden)
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=0)  # float64: a few roundings
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-15)  # differences of shares cancel
