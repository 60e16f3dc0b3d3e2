"""A block at one position gives what the whole block gives there, and a model's own attention comes back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from qloc.extract.passes.target_only import Attention, replaced_attention


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, str]:
    """(row, head, position, width) → (row, position, head, width)."""
    scores = query @ key.transpose(2, 3)
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(-1) @ value).transpose(1, 2), "weights"


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = torch.randn(
        3, 2, 4, 5, 6, dtype=torch.float64
    )  # two rows, four heads, five positions
    return query, key, value


MASKS = {
    "none": None,
    "one for all": torch.randn(1, 1, 5, 5, dtype=torch.float64),
    "one a row": torch.randn(2, 1, 5, 5, dtype=torch.float64),
}


@pytest.mark.parametrize("mask", list(MASKS))
def test_one_position_is_that_of_the_whole(mask: str) -> None:
    inputs, attention = _inputs(), Attention(_attend)
    place = torch.tensor([3, 1])
    whole, weights = attention(None, *inputs, MASKS[mask])
    assert weights == "weights"
    assert torch.equal(attention.known_at(place), whole[[0, 1], place][:, None])
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1
        attention(None, *inputs, MASKS[mask])
        raise AssertionError("what follows attention is not run")

    only = attention.only_at(place, run)
    torch.testing.assert_close(only, whole[[0, 1], place][:, None], rtol=0, atol=1e-12)
    assert calls == 1
    again, _ = attention(None, *inputs, MASKS[mask])  # whole again
    assert torch.equal(again, whole)


def test_a_known_output_stands_for_every_call() -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is computed")

    attention, known = Attention(fail), torch.ones(2, 1, 4, 6)
    attention.substitute = known
    assert attention(None, *_inputs()) == (known, None)


def test_what_is_known_carries_no_gradient() -> None:
    attention = Attention(_attend)
    query, key, value = _inputs()
    attention(None, query.requires_grad_(True), key, value)
    assert not attention.known_at(torch.tensor([0])).requires_grad


def test_a_block_that_calls_no_registered_function_is_refused() -> None:
    attention, place = Attention(_attend), torch.tensor([0])
    with pytest.raises(RuntimeError, match=r"^its blocks call no registered attention function$"):
        attention.only_at(place, lambda: None)
    with pytest.raises(RuntimeError, match=r"^its blocks call no registered attention function$"):
        attention.known_at(place)
    with pytest.raises(ZeroDivisionError):  # an error of the block is the block's own
        attention.only_at(place, lambda: 1 / 0)
    attention(None, *_inputs())  # and leaves no position behind
    assert attention.output is not None
    assert attention.output.shape == (2, 5, 4, 6)


def test_a_models_own_attention_comes_back(plain_rows: Any) -> None:
    engine, targets = plain_rows("gpt2")
    model = engine.model
    name = model.config._attn_implementation
    own, local = ALL_ATTENTION_FUNCTIONS[name], dict(ALL_ATTENTION_FUNCTIONS._local_mapping)
    ids = torch.tensor([targets[0].ids])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        with replaced_attention(model) as attention:
            assert ALL_ATTENTION_FUNCTIONS[name] is attention
            assert torch.equal(model(input_ids=ids).logits, expected)
            assert attention.output is not None
    with pytest.raises(ZeroDivisionError), replaced_attention(model):
        raise ZeroDivisionError
    assert ALL_ATTENTION_FUNCTIONS[name] is own
    assert ALL_ATTENTION_FUNCTIONS._local_mapping == local


def test_a_stand_in_may_stand_within_another(plain_rows: Any) -> None:
    model = plain_rows("gpt2")[0].model
    name = model.config._attn_implementation
    with replaced_attention(model) as outer:
        with replaced_attention(model):
            assert ALL_ATTENTION_FUNCTIONS[name] is not outer
        assert ALL_ATTENTION_FUNCTIONS[name] is outer


def test_a_function_that_is_not_registered_is_refused() -> None:
    model = SimpleNamespace(config=SimpleNamespace(_attn_implementation="homemade"))
    with (
        pytest.raises(RuntimeError, match=r"^attention 'homemade' is not a registered function$"),
        replaced_attention(model),
    ):
        pass
