"""Answer probability and its gradient: the closed form equals autograd, chunked equals whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from qloc.extract.models import output_head as head_module
from qloc.extract.models.architectures import down_weight
from qloc.extract.models.output_head import Head

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
@pytest.mark.parametrize("words", [1, 7, 2048])
def test_probability_and_gradient_equal_autograd(
    settings: dict[str, float], chunk_rows: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(head_module._WORDS, "cpu", words)
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


def test_the_gradient_keeps_its_digits_where_the_answer_is_almost_certain() -> None:
    exact = _head(100)
    weight = down_weight(exact.module)
    token = weight.norm(dim=1).argmax().expand(3)
    hidden = weight[token] * torch.tensor([[60.0], [80.0], [100.0]], dtype=torch.float64)
    _, expected = exact.probability_and_gradient(hidden, token)
    module = torch.nn.Linear(8, VOCABULARY).requires_grad_(False)
    single = Head(model=exact.model, module=module, chunk_bytes=10**6)
    single.module.load_state_dict(exact.module.state_dict())
    probability, gradient = single.probability_and_gradient(hidden.float(), token)
    assert probability.min() > 0.99
    assert (1 - probability).min() < 1e-3
    # float32: 1 − P from P itself would be wrong by 1e-7 / (1 − P); what is left is the rounding of logits
    wrong = (gradient.double() - expected).abs().amax(1) / expected.abs().amax(1)
    assert wrong.max() < 3e-5  # logits of 30, rounded to 24 bits


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
def test_narrow_weights_give_wide_gradients(dtype: torch.dtype, allowed: float) -> None:
    exact = _head(100)
    module = torch.nn.Linear(8, VOCABULARY, dtype=dtype).requires_grad_(False)
    narrow = Head(model=exact.model, module=module, chunk_bytes=10**6)
    narrow.module.load_state_dict(exact.module.state_dict())
    hidden, token = torch.randn(7, 8, dtype=torch.float64), torch.arange(7)
    probability, gradient = narrow.probability_and_gradient(hidden.to(dtype), token)
    assert probability.dtype == gradient.dtype == torch.float32
    _, expected = exact.probability_and_gradient(hidden, token)
    scale = expected.abs().max()
    assert (gradient.double() - expected).abs().max() < allowed * scale  # a few roundings of the narrow type


def test_a_difference_of_two_tokens_where_one_is_named() -> None:
    head = _head(2)
    hidden = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    token, against = torch.tensor([1, 2, 3]), torch.tensor([4, -1, 5])
    found = head.probability(hidden, token, against)
    shares = head.logits(hidden).softmax(-1)
    expected = shares[torch.arange(3), token] - shares[torch.arange(3), against] * (against >= 0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    ours, theirs = (torch.autograd.grad(each.sum(), hidden)[0] for each in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)


def test_more_rows_fit_where_the_vocabulary_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(head_module._WORDS, "cpu", 10)
    plain, capped = _head(9), _head(9, final_logit_softcapping=3.0)
    assert (plain.plain, capped.plain) == (True, False)
    assert (plain.rows_a_chunk(), plain.rows_a_piece()) == (9, 25)  # 9 · 50 // (10 + 8)
    assert (capped.rows_a_chunk(), capped.rows_a_piece()) == (9, 9)
    assert _head(0).rows_a_chunk() == 1
