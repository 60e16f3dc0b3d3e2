"""A control's weights are those of its model, at other places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from qloc.extract.models.loading import source

Tiny = Callable[[str], Any]


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_each_tensor_keeps_its_entries_and_loses_their_order(tiny: Tiny, kind: str) -> None:
    folder = tiny(kind).folder
    own = source(str(folder)).load(dtype="float64", device="cpu").model
    control = source(f"permuted:{folder}").load(dtype="float64", device="cpu").model
    moved = 0
    for (name, before), (other, after) in zip(
        own.named_parameters(), control.named_parameters(), strict=True
    ):
        assert name == other
        assert before.shape == after.shape
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        moved += not torch.equal(before, after)
        if before.ndim > 1:
            assert not torch.equal(before, after), name
    assert moved


def test_tied_weights_stay_tied(tiny: Tiny) -> None:
    model = source(f"permuted:{tiny('gpt2').folder}").load(dtype="float32", device="cpu").model
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_the_permutation_is_the_same_each_time_and_tensors_do_not_share_it(tiny: Tiny) -> None:
    name = f"permuted:{tiny('gpt2').folder}"
    once, again = (source(name).load(dtype="float32", device="cpu").model.state_dict() for _ in range(2))
    assert all(torch.equal(once[key], again[key]) for key in once)
    own = source(str(tiny("gpt2").folder)).load(dtype="float32", device="cpu").model
    first, second = (block.mlp.c_fc.weight for block in own.transformer.h[:2])
    places = [
        torch.argsort(torch.argsort(control.flatten())[torch.argsort(torch.argsort(weight.flatten()))])
        for weight, control in (
            (first, once["transformer.h.0.mlp.c_fc.weight"]),
            (second, once["transformer.h.1.mlp.c_fc.weight"]),
        )
    ]
    assert not torch.equal(*places)


def test_a_control_is_another_model_by_its_fingerprint(tiny: Tiny) -> None:
    folder = tiny("gpt2").folder
    own, control = source(str(folder)), source(f"permuted:{folder}")
    assert control.fingerprint() == {**own.fingerprint(), "permuted": True}
    assert control.tokenizer_fingerprint() == own.tokenizer_fingerprint()
    assert (control.name, control.place) == (f"permuted:{folder}", str(folder))
