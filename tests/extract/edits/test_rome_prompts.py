"""Batches of ROME's prompts: what is known beforehand, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from qloc.extract.edits.rome import Rome
from qloc.extract.edits.rome_prompts import Known, PromptBatch
from qloc.extract.edits.rome_value import ValueSearch


@pytest.fixture
def batch_of(
    rome_of: Callable[..., Rome], search_of: Callable[..., ValueSearch]
) -> Callable[[str], PromptBatch]:
    def make(kind: str) -> PromptBatch:
        search = search_of(rome_of(kind))
        return PromptBatch(
            engine=search.engine, layer=search.layer, prompts=(*search.prompts, search.essence)
        )

    return make


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_what_is_known_gives_what_whole_passes_give(batch_of: Any, kind: str) -> None:
    """float64; LLaMA's RMSNorm computes in float32, hence 1e-4 there."""
    batch, whole = batch_of(kind), batch_of(kind)
    vars(whole)["known"] = Known()
    assert len(batch.known.below) == batch.layer > 0
    assert (batch.known.beginnings is None) == (kind == "bert")
    assert len({prompt.subject for prompt in batch.prompts}) > 1
    tolerance, results = (1e-4 if kind == "llama" else 1e-9), []
    for one in (batch, whole):
        value = torch.linspace(-1, 1, 32, dtype=torch.float64).requires_grad_(True)
        hidden = one.written(value)
        last = [one.place(row, len(prompt.ids) - 1) for row, prompt in enumerate(one.prompts)]
        found = hidden[torch.arange(len(last)), last]
        (gradient,) = torch.autograd.grad(found.square().sum(), value)
        results.append((found.detach(), gradient))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())
        )
    assert batch.written(value).shape[1] == (
        whole.written(value).shape[1] if kind == "bert" else batch._n_behind
    )


def test_a_model_that_reads_no_cache_runs_whole_prompts(batch_of: Any) -> None:
    batch = batch_of("gpt2")
    handle = batch.engine.model.register_forward_pre_hook(_without_cache, with_kwargs=True)
    known = batch.known
    handle.remove()
    assert known.beginnings is None
    assert len(known.below) == batch.layer


def _without_cache(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Fail as a model does that is given what it does not take."""
    if len(kwargs["input_ids"][0]) != len(kwargs.get("attention_mask", kwargs["input_ids"])[0]):
        raise TypeError("no cache")
    return args, kwargs
