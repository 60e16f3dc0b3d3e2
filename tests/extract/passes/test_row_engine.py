"""Rows of one batch against one pass a row, with plain hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qloc.extract.models.hooks import hooked
from qloc.extract.passes.activation_changes import Cells
from qloc.extract.passes.row_engine import RowEngine, sharing
from qloc.extract.prompts.tokenizing import Target


def _cells() -> Cells:
    """Row 0 changes nothing, row 1 one layer, row 2 all of them, row 3 the last."""
    row = np.array([1, 1, 2, 2, 2, 3])
    return Cells(
        row=row,
        layer=np.array([1, 1, 0, 1, 2, 2]),
        neuron=np.array([0, 5, 3, 3, 3, 7]),
        factor=np.array([0.0, 2.0, 0.5, 0.0, -1.0, 0.0]),
        offset=np.array([0.0, 1.0, 0.0, 4.0, 0.0, 9.0]),
    )


def _one_row(engine: RowEngine, target: Target, cells: Cells) -> tuple[Tensor, Tensor]:
    """Final hidden state and unchanged-so-far activations of one row, one hook a layer."""
    activations: dict[int, Tensor] = {}
    finals: list[Tensor] = []

    def hook(layer: int) -> Any:
        def change(_: Any, args: Any) -> Any:
            given = args[0].clone()
            activations[layer] = given[0, target.position].clone()
            own = cells.of_layer(layer)
            for neuron, factor, offset in zip(own.neuron, own.factor, own.offset, strict=True):
                given[0, target.position, neuron] = factor * given[0, target.position, neuron] + offset
            return (given, *args[1:])

        return change

    hooks = {down: hook(layer) for layer, down in enumerate(engine.sites.downs)}
    keep = {engine.sites.head: lambda _, args: finals.append(args[0][0, target.position])}
    with hooked(forward_pre={**hooks, **keep}), torch.no_grad():
        engine.model(input_ids=torch.tensor([target.ids]))
    return finals[0], torch.stack([activations[layer] for layer in sorted(activations)])


@pytest.mark.parametrize(
    ("kind", "shared"), [("gpt2", False), ("gpt2", True), ("llama", True), ("bert", False)]
)
@pytest.mark.parametrize("memory", [10**9, 1])
def test_every_row_is_its_own_pass(plain_rows: Any, kind: str, shared: bool, memory: int) -> None:
    """RMSNorm computes in float32 even in a float64 model."""
    engine, targets = plain_rows(kind)
    some = [targets[0], targets[-1], targets[1]]
    row_target, cells = np.array([0, 1, 2, 1]), _cells()
    found: dict[int, tuple[Tensor, Tensor]] = {}
    sizes = []
    for done in replace(engine, shared=shared, memory=memory).passes(some, row_target, cells, read=True):
        assert done.activation is not None
        sizes.append(len(done.rows))
        found |= dict(zip(done.rows.tolist(), zip(done.hidden, done.activation, strict=True), strict=True))
    assert sum(sizes) == len(found) == 4
    assert (max(sizes) == 1) == (memory == 1)
    allowed = 1e-5 if kind == "llama" else 1e-10
    for row, number in enumerate(row_target.tolist()):
        hidden, activation = _one_row(engine, some[number], cells.of_rows(np.array([row])))
        torch.testing.assert_close(found[row][0], hidden, rtol=allowed, atol=allowed)
        torch.testing.assert_close(found[row][1], activation, rtol=allowed, atol=allowed)


def test_activations_are_kept_only_where_asked_for(plain_rows: Any) -> None:
    engine, targets = plain_rows("gpt2")
    (done,) = engine.passes(targets[:1], np.zeros(2, dtype=np.int64), Cells.none())
    assert done.activation is None
    assert list(engine.passes(targets, np.zeros(0, dtype=np.int64), Cells.none())) == []


def test_what_else_holds_during_a_batch_is_told_its_rows(plain_rows: Any) -> None:
    engine, targets = plain_rows("gpt2")
    seen: list[list[int]] = []
    open_now = 0

    @contextmanager
    def within(rows: np.ndarray) -> Iterator[None]:
        nonlocal open_now
        seen.append(rows.tolist())
        open_now += 1
        yield
        open_now -= 1

    row_target = np.array([0, 1, 0])
    other = next(target for target in targets if len(target.ids) != len(targets[0].ids))
    shared = replace(engine, shared=True)
    found = list(shared.passes([targets[0], other], row_target, Cells.none(), within=within))
    assert seen == [done.rows.tolist() for done in found]
    assert sorted(map(tuple, seen)) == [(0, 2), (1,)]
    assert open_now == 0


def test_fewer_rows_go_together_with_less_memory_and_longer_prompts(plain_rows: Any) -> None:
    engine, _ = plain_rows("gpt2")
    assert engine.rows_a_batch(8) == 2048 // 8  # more positions are not faster
    assert engine.rows_a_batch(8, shared=True) == 2048
    assert replace(engine, memory=1).rows_a_batch(8) == 1
    small = replace(engine, memory=100 * engine._bytes(8, 8, False))
    assert small.rows_a_batch(8) == 100
    assert small.rows_a_batch(16) < 100 < small.rows_a_batch(8, shared=True)
    assert small.rows_a_batch(8, read=True) < 100
    assert small.rows_a_batch(8, layers=4) == 25
    assert engine.rows_a_batch(8, layers=4) == 2048 // 8


def test_activations_are_kept_in_float32_at_least(plain_rows: Any) -> None:
    assert plain_rows("gpt2")[0].wide == torch.float64
    assert plain_rows("gpt2", "bfloat16")[0].wide == torch.float32


def test_too_little_memory_says_nothing_of_sharing(plain_rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, targets = plain_rows("gpt2")

    def fail(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("qloc.extract.passes.row_engine._hidden", fail)
    with pytest.raises(torch.OutOfMemoryError):
        sharing(engine, targets, 1e-5)


def test_rows_share_their_prompt_where_that_holds(plain_rows: Any, caplog: pytest.LogCaptureFixture) -> None:
    engine, targets = plain_rows("gpt2")
    assert sharing(engine, targets, 1e-5).shared
    masked, others = plain_rows("bert")
    assert not sharing(replace(masked, shared=True), others, 1e-5).shared

    def by_length(_: Any, args: Any) -> Any:
        return (args[0] * args[0].shape[1], *args[1:])  # a block that depends on how much it is given

    caplog.set_level("INFO")
    with hooked(forward_pre={engine.sites.blocks[0]: by_length}):
        assert not sharing(replace(engine, shared=True), targets, 1e-5).shared
    assert caplog.messages[-1].startswith("rows that share their prompt differ by ")

    def refuse(_: Any, args: Any) -> Any:
        if args[0].shape[1] == 1:
            raise ValueError("one token is too few")

    with hooked(forward_pre={engine.sites.blocks[0]: refuse}):
        assert not sharing(engine, targets, 1e-5).shared
    assert caplog.messages[-1] == "rows cannot share their prompt on gpt2: one token is too few"
