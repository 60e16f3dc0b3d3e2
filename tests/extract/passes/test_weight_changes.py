"""Edited rows against models whose weights are really changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.passes.weight_changes import Edit, EditRows, distinct_edits, edited


def _edit(*slots: tuple[int, int], width: int = 2, seed: int = 0) -> Edit:
    layer, neuron = (np.array(column, dtype=np.int64) for column in zip(*slots, strict=True))
    change = torch.randn(len(slots), width, generator=torch.Generator().manual_seed(seed))
    return Edit(layer=layer, neuron=neuron, change=change.double())


def test_an_edit_adds_what_its_slots_add() -> None:
    edit = _edit((0, 1), (1, 0), (0, 2))
    assert edit.n_slots == 3
    activation = torch.randn(4, 5, 3, dtype=torch.float64)
    first, second, third = (edit.at(layer) for layer in (0, 1, 2))
    assert first is not None
    assert second is not None
    assert third is None
    expected = activation[..., 1:2] * edit.change[0] + activation[..., 2:3] * edit.change[2]
    torch.testing.assert_close(first(activation), expected)
    torch.testing.assert_close(second(activation), activation[..., :1] * edit.change[1])
    assert first(activation.float()).dtype == torch.float32


def test_equal_edits_are_found() -> None:
    one, same, other = _edit((0, 1), (1, 0)), _edit((0, 1), (1, 0)), _edit((0, 1), (1, 1))
    half = Edit(layer=one.layer, neuron=one.neuron, change=one.change / 2)
    wide = Edit(layer=one.layer, neuron=one.neuron, change=one.change[:1].expand(2, -1))
    found, number = distinct_edits([one, half, same, other, wide, one])
    assert number == [0, 1, 0, 2, 3, 0]
    assert [edit is expected for edit, expected in zip(found, (one, half, other, wide), strict=True)] == [
        True
    ] * 4
    assert distinct_edits([]) == ([], [])


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_each_row_runs_on_the_model_with_its_weights(plain_rows: Any, kind: str) -> None:
    engine, targets = plain_rows(kind)
    sites, model = engine.sites, engine.model
    width = down_weight(sites.downs[0]).shape[0]
    edits = [None, _edit((0, 3), (2, 5), width=width), _edit((2, 1), width=width, seed=1)]
    of_row = [1, 0, 2, 1]
    ids = torch.tensor([targets[0].ids])
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad(), edited(sites, edits, of_row):
        found = model(input_ids=ids.expand(4, -1)).logits
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    for row, number in enumerate(of_row):
        edit = edits[number]
        with torch.no_grad():
            if edit is not None:
                for layer, neuron, change in zip(edit.layer, edit.neuron, edit.change, strict=True):
                    down_weight(sites.downs[layer])[:, neuron] += change
            expected = model(input_ids=ids).logits[0]
            model.load_state_dict(before)
        # RMSNorm computes in float32
        torch.testing.assert_close(found[row], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert float((found[0] - found[1]).abs().max()) > 1e-3
    assert torch.equal(found[0], found[3])


def test_no_hook_stays_after_an_error(two_layers: Sites) -> None:
    with edited(two_layers, [_edit((0, 1))], [0]):
        assert two_layers.downs[0]._forward_hooks
    with pytest.raises(ZeroDivisionError), edited(two_layers, [_edit((0, 1))], [0]):
        raise ZeroDivisionError
    assert not any(down._forward_hooks for down in two_layers.downs)


# ---- rows that join late

EDITS = [None, _edit((1, 0)), _edit((0, 1), (1, 2), seed=1), _edit((1, 1), seed=2)]
OF_ROW = np.array([3, 0, 2, 1, 2, 3], dtype=np.int64)


def test_rows_are_ordered_by_layer_and_those_of_one_edit_stand_together(two_layers: Sites) -> None:
    rows = EditRows(two_layers, EDITS, OF_ROW)
    assert rows.first.tolist() == [1, 2, 0, 1, 0, 1]
    assert rows.order.tolist() == [2, 4, 3, 0, 5, 1]
    in_order = rows.of_rows(rows.order)
    assert in_order.of_row.tolist() == [2, 2, 1, 3, 3, 0]
    assert [rows for _, rows in in_order.at(0)] == [slice(0, 2)]
    assert [rows for _, rows in in_order.at(1)] == [slice(0, 2), slice(2, 3), slice(3, 5)]
    assert in_order.at(2) == []


def _expected(sites: Sites, of_row: np.ndarray, layer: int, activation: Tensor) -> Tensor:
    """What each row's edit adds, row by row."""
    parts = [torch.zeros(0, 4, 2, dtype=torch.float64)]
    for row, number in enumerate(of_row.tolist()):
        edit = EDITS[number]
        adds: Callable[[Tensor], Tensor] | None = None if edit is None else edit.at(layer)
        added = torch.zeros(4, 2, dtype=torch.float64) if adds is None else adds(activation[row])
        parts.append(added[None])
    return torch.cat(parts)


@pytest.mark.parametrize("layer", [0, 1])
def test_outputs_and_joined_rows_get_what_each_edit_adds(two_layers: Sites, layer: int) -> None:
    unordered = EditRows(two_layers, EDITS, OF_ROW)
    rows = unordered.of_rows(unordered.order)
    activation = torch.randn(6, 4, 3, dtype=torch.float64)
    for present in (0, 2, 3, 5, 6):  # all rows of one edit join together
        output = torch.zeros(present, 4, 2, dtype=torch.float64)
        rows.outputs(layer, activation[:present], output)
        expected = _expected(two_layers, rows.of_row[:present], layer, activation)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-15)
    queries, query = torch.randn(2, 4, 3, dtype=torch.float64), torch.tensor([0, 1, 1])
    output = torch.ones(3, 4, 2, dtype=torch.float64)
    rows.joined(layer, 2, queries, query, torch.zeros(3, dtype=torch.int64), output)
    expected = 1 + _expected(two_layers, rows.of_row[2:5], layer, queries[query])
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-15)


def test_what_goes_into_a_down_projection_is_not_changed(two_layers: Sites) -> None:
    activation = torch.randn(6, 4, 3)
    before = activation.clone()
    EditRows(two_layers, EDITS, OF_ROW).inputs(0, activation, torch.zeros(6, dtype=torch.int64))
    assert torch.equal(activation, before)
