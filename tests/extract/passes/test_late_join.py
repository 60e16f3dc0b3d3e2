"""Rows that join where they first differ are rows that run all layers, at less work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qloc.extract.edits.erase_and_update import erasure
from qloc.extract.passes.activation_changes import CellRows, Cells
from qloc.extract.passes.late_join import run_joining
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.passes.weight_changes import Edit, EditRows


def _cells(engine: RowEngine, n_rows: int) -> Cells:
    """Rows that change nothing, one layer, or several, in no order."""
    rng = np.random.default_rng(3)
    rows, layers, neurons = [], [], []
    for row in range(n_rows):
        for layer in rng.choice(engine.sites.n_layers, size=row % 4 % 3, replace=False):
            chosen = rng.choice(engine.sites.n_neurons, size=5, replace=False)
            rows.append(np.full(5, row))
            layers.append(np.full(5, layer))
            neurons.append(chosen)
    of_cell = np.concatenate(rows)
    return Cells(
        row=of_cell,
        layer=np.concatenate(layers),
        neuron=np.concatenate(neurons),
        factor=rng.choice([0.0, 2.0], size=len(of_cell)),
        offset=rng.normal(size=len(of_cell)),
    )


@pytest.mark.parametrize("memory", [10**9, 1])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "bert"])
def test_changed_activations_as_in_all_layers(
    proved_rows: Any, hidden_of: Any, kind: str, memory: int
) -> None:
    """float64; RMSNorm computes in float32 all the same, hence 1e-5 there."""
    engine, targets = proved_rows(kind, "cells")
    assert engine.way is not None
    assert engine.way.join == ("before" if kind == "bert" else "after")
    assert engine.way.cut == (kind == "bert")  # a shared row is one token already
    targets = targets[::3]  # of several lengths
    assert len({len(target.ids) for target in targets}) > 1
    row_target = np.repeat(np.arange(len(targets)), 5)
    cells = _cells(engine, len(row_target))
    expected = hidden_of(replace(engine, way=None), targets, row_target, cells)
    got = hidden_of(replace(engine, memory=memory), targets, row_target, cells)
    allowed = 1e-9 if kind in ("gpt2", "bert") else 1e-5
    torch.testing.assert_close(got, expected, rtol=allowed, atol=allowed)
    plain = hidden_of(replace(engine, way=None), targets, row_target, Cells.none())
    assert float((expected - plain).abs().max()) > 1e-2  # changes that do something


@pytest.mark.parametrize("base", [[None], []], ids=["with unchanged rows", "edited rows alone"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_edits_as_in_all_layers(proved_rows: Any, hidden_of: Any, kind: str, base: list[None]) -> None:
    engine, targets = proved_rows(kind, "edits")
    assert engine.way is not None
    assert (engine.way.join, engine.way.cut) == ("before" if kind == "bert" else "after", True)
    width, targets = engine.sites.n_neurons, targets[::3]
    slots = [[2 * width], [0, width + 3, 2 * width + 1], [width, width + 7], [2 * width + 5, 2 * width + 6]]
    edits: list[Edit | None] = [*base, *(erasure(engine.sites, np.array(numbers)) for numbers in slots)]
    row_target, edit = np.divmod(np.arange(len(targets) * len(edits)), len(edits))
    rows = EditRows(engine.sites, edits, edit)
    expected = hidden_of(replace(engine, way=None), targets, row_target, Cells.none(), rows)
    got = hidden_of(engine, targets, row_target, Cells.none(), rows)
    allowed = 1e-5 if kind == "llama" else 1e-9
    torch.testing.assert_close(got, expected, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_hidden_states_of_every_position(proved_rows: Any, kind: str, cut: bool) -> None:
    """Everywhere, the last block is not cut to the target; at the target the numbers are those of the target."""
    engine, targets = proved_rows(kind, "edits")
    first = targets[0]
    ids, place = torch.tensor([first.ids]), torch.tensor([first.position])
    change = EditRows(engine.sites, [None, erasure(engine.sites, np.array([3, 75]))], np.array([1, 0, 1]))
    way, query = replace(engine.way, cut=cut), np.zeros(3, dtype=np.int64)

    def run(everywhere: bool) -> torch.Tensor:
        return run_joining(engine.model, engine.sites, way, ids, place, query, change, everywhere=everywhere)

    everywhere, at_target = run(True), run(False)
    assert everywhere.shape == (3, len(first.ids), engine.model.config.hidden_size)
    torch.testing.assert_close(everywhere[:, first.position], at_target, rtol=0, atol=1e-10)
    torch.testing.assert_close(at_target[0], at_target[2], rtol=0, atol=1e-10)
    assert not torch.allclose(at_target[0], at_target[1])


def test_rows_that_change_nothing_are_their_prompts(proved_rows: Any) -> None:
    """Without any change no row joins, and each is the unchanged row of its prompt."""
    engine, targets = proved_rows("gpt2", "cells")
    same_length = [target for target in targets if len(target.ids) == len(targets[0].ids)][:2]
    ids = torch.tensor([target.ids for target in same_length])
    place = torch.tensor([target.position for target in same_length])
    query = np.array([1, 0, 1])
    change = CellRows(engine.sites, Cells.none(), 3)
    found = run_joining(engine.model, engine.sites, engine.way, ids, place, query, change, shared=True)
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1])


def test_a_row_costs_nothing_below_the_layer_that_it_changes(proved_rows: Any) -> None:
    """``after`` the last block a row is one product of its cells with their weights; the plain way is not."""
    engine, targets = proved_rows("gpt2", "cells")
    n_rows, last = 7, engine.sites.n_layers - 1
    row = np.arange(n_rows)

    def flop(engine: RowEngine, n: int) -> int:
        some = row[:n]
        same = np.full(n, last)
        cells = Cells(row=some, layer=same, neuron=some, factor=np.zeros(n), offset=np.zeros(n))
        with FlopCounterMode(display=False) as counter:
            list(engine.passes(targets[:1], np.zeros(n_rows, dtype=np.int64), cells))
        return int(counter.get_total_flops())

    width = engine.model.config.n_embd
    assert flop(engine, n_rows) - flop(engine, 0) == 2 * n_rows * n_rows * width
    plain = replace(engine, way=None)
    a_row = 2 * 3 * (4 * width**2 + 2 * width * engine.sites.n_neurons)  # of three blocks, without attention
    assert flop(plain, n_rows) - flop(engine, n_rows) > 0.9 * (n_rows - 1) * a_row
