"""The last token behind a cached prompt gives what the whole prompt gives, for as many rows as there are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qloc.extract.passes.prompt_cache import KeptPrompts, _Behind, last_token, last_tokens, whole


def _ids(n: int, length: int) -> torch.Tensor:
    return torch.arange(10, 10 + n * length).view(n, length)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "gpt_neox"])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_last_token_is_that_of_whole_prompts(plain_rows: Any, kind: str, length: int) -> None:
    """float64, but transformers' RMSNorm computes in float32."""
    model, ids = plain_rows(kind)[0].model, _ids(3, length)
    row = torch.arange(3)
    inputs = last_token(model, ids, lambda: row)
    assert inputs["input_ids"].shape == (3, 1)
    with torch.no_grad():
        found = model(**inputs).logits[:, -1]
        expected = model(**whole(model, ids)).logits[:, -1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_a_cached_prompt_serves_any_rows_and_is_not_used_up(plain_rows: Any) -> None:
    """The rows are asked anew in every layer, and the token of one row is not seen by another."""
    model, ids = plain_rows("gpt2")[0].model, _ids(2, 5)
    rows = torch.tensor([1, 0, 1])
    asked = 0

    def query_of_row() -> torch.Tensor:
        nonlocal asked
        asked += 1
        return rows

    inputs = last_token(model, ids, query_of_row)
    assert asked == 0
    tokens = torch.tensor([[40], [41], [42]])
    with torch.no_grad():
        found, again = (model(**{**inputs, "input_ids": tokens}).logits[:, -1] for _ in range(2))
        expected = model(input_ids=torch.cat([ids[rows, :-1], tokens], 1)).logits[:, -1]
    assert asked == 2 * model.config.n_layer
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(again, found)


def test_the_same_prompts_run_once(plain_rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = plain_rows("llama")[0].model, torch.arange(2)
    kept: KeptPrompts = {}
    runs, forward = [], type(model).forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        runs.append(kwargs["input_ids"].shape)
        return forward(self, *args, **kwargs)

    first, other = _ids(2, 5), _ids(2, 5) + 1
    monkeypatch.setattr(type(model), "forward", counted)
    with torch.no_grad():
        found = [model(**last_token(model, ids, lambda: rows, kept)).logits for ids in (first, first, other)]
        alone = [model(**last_token(model, ids, lambda: rows)).logits for ids in (first, other)]
    assert runs == [(2, 4), (2, 1), (2, 1), (2, 4), (2, 1), (2, 4), (2, 1), (2, 4), (2, 1)]
    assert torch.equal(found[0], alone[0])
    assert torch.equal(found[1], alone[0])
    assert torch.equal(found[2], alone[1])


def test_whole_prompts_keep_no_keys(plain_rows: Any) -> None:
    ids = _ids(1, 4)
    assert whole(plain_rows("gpt2")[0].model, ids) == {"input_ids": ids, "use_cache": False}
    with torch.no_grad():
        assert whole(plain_rows("gpt2")[0].model, ids)["input_ids"] is ids
        found = plain_rows("gpt2")[0].model(**whole(plain_rows("gpt2")[0].model, ids))
    assert found.past_key_values is None
    assert "input_ids" in whole(plain_rows("bert")[0].model, ids)


def test_only_the_tokens_own_keys_have_a_gradient() -> None:
    prefix = torch.randn(2, 1, 4, 3, requires_grad=True)  # two queries, with room for a token at the end
    own = torch.randn(3, 1, 1, 3, requires_grad=True)
    rows = torch.tensor([1, 0, 1])
    found = _Behind.apply(own, prefix, rows)
    expected = torch.cat([prefix[rows][:, :, :3], own], 2)
    assert torch.equal(found, expected)
    weight = torch.randn_like(found)
    (found * weight).sum().backward()
    assert own.grad is not None
    assert torch.equal(own.grad, weight[:, :, -1:])
    assert prefix.grad is None


@pytest.mark.parametrize("start", [0, 1, 3])
def test_tokens_behind_a_prompt_are_those_of_whole_prompts(plain_rows: Any, start: int) -> None:
    engine, targets = plain_rows("gpt2")
    model, ids = engine.model, torch.tensor([targets[0].ids, targets[0].ids[::-1]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits[:, start:]
        inputs = last_tokens(model, ids, lambda: torch.arange(2), start)
        found = model(**inputs).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
