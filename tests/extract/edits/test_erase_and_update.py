"""Erasure and update of rows, by hand, for weights stored either way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.edits.erase_and_update import erasure, update
from qloc.extract.models.architectures import Sites
from qloc.extract.models.loading import source

NEURONS = np.array([3, 72 + 5, 2 * 72])  # neuron 3 of layer 0, 5 of layer 1, 0 of layer 2


@pytest.fixture(params=["gpt2", "llama"])  # Conv1D keeps (neuron, n_out), Linear (n_out, neuron)
def sites(request: pytest.FixtureRequest, tiny: Callable[[str], Any]) -> Sites:
    return source(str(tiny(request.param).folder)).load(dtype="float64", device="cpu").sites


def _rows(sites: Sites) -> torch.Tensor:
    weights: list[Any] = [module.weight for module in sites.downs]
    by_neuron = [weight if weight.shape[0] == 72 else weight.T for weight in weights]
    return torch.stack([by_neuron[int(n) // 72][int(n) % 72] for n in NEURONS]).detach()


def test_an_erasure_takes_away_the_row(sites: Sites) -> None:
    edit = erasure(sites, NEURONS)
    assert (edit.layer.tolist(), edit.neuron.tolist()) == ([0, 1, 2], [3, 5, 0])
    torch.testing.assert_close(edit.change.detach(), -_rows(sites), rtol=0, atol=0)


def test_an_update_is_that_of_the_paper(sites: Sites) -> None:
    old, new = torch.randn(2, 32, dtype=torch.float64)
    plain = update(sites, NEURONS, old, new, lambda1=1.0, lambda2=8.0, slot_norm=False)
    for row in plain.change:
        torch.testing.assert_close(row, 8 * new - old)
    scaled = update(sites, NEURONS, old, new, lambda1=1.0, lambda2=8.0, slot_norm=True)
    for row, own in zip(scaled.change.detach(), _rows(sites), strict=True):
        torch.testing.assert_close(row, own.norm() * (8 * new / new.norm() - old / old.norm()))
    sign = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    signed = update(sites, NEURONS, old, new, lambda1=1.0, lambda2=8.0, slot_norm=True, sign=sign)
    torch.testing.assert_close(signed.change.detach(), sign[:, None] * scaled.change.detach())


def test_no_neurons_no_change(sites: Sites) -> None:
    assert erasure(sites, np.zeros(0, dtype=np.int64)).change.shape == (0, 32)
