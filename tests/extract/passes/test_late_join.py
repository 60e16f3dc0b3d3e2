"""Rows that join where they first differ are rows that run all layers, at less work, or are not used."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qloc.extract.edits.knowledge_neurons import erasure
from qloc.extract.models.loading import source
from qloc.extract.passes.activation_changes import Cells
from qloc.extract.passes.late_join import JoiningBatch
from qloc.extract.passes.late_join_proof import ChangeKind, joining
from qloc.extract.passes.row_engine import RowEngine, sharing
from qloc.extract.passes.weight_changes import Edit, EditRows
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.tokenizing import Target, Tokens


def _engine(tiny: Any, kind: str, what: ChangeKind, dtype: str = "float64") -> tuple[RowEngine, list[Target]]:
    made = tiny(kind)
    found = source(str(made.folder))
    loaded = found.load(dtype=dtype, device="cpu")
    asked = [one for of_fact in ask_facts(made.facts, found.encoder()).asked for one in of_fact]
    targets = list(Tokens.of(asked).targets)
    engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    if what == "cells":
        engine = sharing(engine, targets, 1e-5)
    return joining(engine, targets, what), targets


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
    row = np.concatenate(rows)
    return Cells(
        row=row,
        layer=np.concatenate(layers),
        neuron=np.concatenate(neurons),
        factor=rng.choice([0.0, 2.0], size=len(row)),
        offset=rng.normal(size=len(row)),
    )


def _hidden(
    engine: RowEngine, targets: list[Target], row_target: np.ndarray, cells: Cells, edits: EditRows | None
) -> torch.Tensor:
    found: dict[int, torch.Tensor] = {}
    for done in engine.passes(targets, row_target, cells, edits=edits):
        found |= dict(zip(done.rows.tolist(), done.hidden, strict=True))
    return torch.stack([found[row] for row in range(len(row_target))])


@pytest.mark.parametrize("memory", [10**9, 1])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "bert"])
def test_changed_activations_as_in_all_layers(tiny: Any, kind: str, memory: int) -> None:
    """float64; RMSNorm computes in float32 all the same, hence 1e-5 there."""
    engine, targets = _engine(tiny, kind, "cells")
    assert engine.way is not None
    assert engine.way.join == ("before" if kind == "bert" else "after")
    assert engine.way.cut == (kind == "bert")  # a shared row is one token already
    row_target = np.repeat(np.arange(len(targets)), 5)
    cells = _cells(engine, len(row_target))
    expected = _hidden(replace(engine, way=None), targets, row_target, cells, None)
    got = _hidden(replace(engine, memory=memory), targets, row_target, cells, None)
    allowed = 1e-9 if kind in ("gpt2", "bert") else 1e-5
    torch.testing.assert_close(got, expected, rtol=allowed, atol=allowed)
    plain = _hidden(replace(engine, way=None), targets, row_target, Cells.none(), None)
    assert float((expected - plain).abs().max()) > 1e-2  # changes that do something


@pytest.mark.parametrize("base", [[None], []], ids=["with unchanged rows", "edited rows alone"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_edits_as_in_all_layers(tiny: Any, kind: str, base: list[None]) -> None:
    engine, targets = _engine(tiny, kind, "edits")
    assert engine.way is not None
    assert (engine.way.join, engine.way.cut) == ("before" if kind == "bert" else "after", True)
    width = engine.sites.n_neurons
    slots = [[2 * width], [0, width + 3, 2 * width + 1], [width, width + 7], [2 * width + 5, 2 * width + 6]]
    edits: list[Edit | None] = [*base, *(erasure(engine.sites, np.array(one)) for one in slots)]
    row_target, edit = np.divmod(np.arange(len(targets) * len(edits)), len(edits))
    rows = EditRows(engine.sites, edits, edit)
    expected = _hidden(replace(engine, way=None), targets, row_target, Cells.none(), rows)
    got = _hidden(engine, targets, row_target, Cells.none(), rows)
    allowed = 1e-5 if kind == "llama" else 1e-9
    torch.testing.assert_close(got, expected, rtol=allowed, atol=allowed)


def test_a_row_costs_nothing_below_the_layer_that_it_changes(tiny: Any) -> None:
    """``after`` the last block a row is one product of its cells with their weights; the plain way is not."""
    engine, targets = _engine(tiny, "gpt2", "cells")
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


def test_half_precision_joins_before(tiny: Any) -> None:
    """An activation is then made what it is said to become, where a sum would round."""
    engine, _ = _engine(tiny, "gpt2", "cells", "bfloat16")
    assert engine.way is not None
    assert engine.way.join == "before"


def test_what_does_not_hold_is_not_used(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave, enter = JoiningBatch._leave, JoiningBatch._enter

    def lossy(self: JoiningBatch, block: Any, args: Any, output: Any) -> Any:
        found = leave(self, block, args, output)
        return found * 1.01 if self.way.join == "after" else found

    monkeypatch.setattr(JoiningBatch, "_leave", lossy)
    engine, targets = _engine(tiny, "gpt2", "edits")
    assert engine.way is not None
    assert engine.way.join == "before"
    assert not caplog.records

    def broken(self: JoiningBatch, *given: Any) -> Any:
        enter(self, *given)
        raise RuntimeError("no such block")

    monkeypatch.setattr(JoiningBatch, "_enter", broken)
    with caplog.at_level(logging.WARNING):
        engine, targets = _engine(tiny, "gpt2", "edits")
    assert engine.way is None
    assert [record.getMessage() for record in caplog.records] == [
        "changed rows run all layers of gpt2, which may take several times longer: "
        "no way to join gives what it gives"
    ]
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in engine.model.modules())
    assert len(_hidden(engine, targets[:1], np.zeros(2, dtype=np.int64), Cells.none(), None)) == 2
