"""Changed rows of every family: each is what a pass of its own gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from qloc.extract.models.loading import LoadedModel
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.row_engine import Cells, RowEngine, sharing
from qloc.extract.prompts.tokenizing import Target


def _alone(loaded: LoadedModel, target: Target, cells: Cells, row: int) -> torch.Tensor:
    """Final logits at the target of a pass of its own, some activations halved there."""
    own, width = cells.of_rows(np.array([row])), loaded.sites.n_neurons
    calls, handles = [0], list[Any]()

    def halve(_: Any, args: Any) -> Any:
        layer, calls[0] = calls[0], calls[0] + 1
        given = args[0].reshape(1, -1, width).clone()
        for neuron in own.neuron[own.layer == layer]:
            given[0, target.position, neuron] *= 0.5
        return (given.reshape(args[0].shape), *args[1:])

    for down in dict.fromkeys(loaded.sites.downs):
        handles.append(down.register_forward_pre_hook(halve))
    logits = loaded.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
    for handle in handles:
        handle.remove()
    return logits


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def test_changed_rows_are_passes_of_their_own(family: Any) -> None:
    loaded = family.loaded
    targets, sites_ = family.targets(), loaded.sites
    engine = RowEngine(model=loaded.model, sites=sites_, family=loaded.family, memory=10**9)
    engine = joining(sharing(engine, targets, 1e-5), targets, "cells")
    if family.join != "full":
        assert engine.way is not None
        assert engine.way.join == family.join_of_rows
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(targets)), 2)
    row = np.repeat(np.arange(len(rows)), 5)
    cells = Cells(
        row=row,
        layer=np.tile(np.arange(5) % sites_.n_layers, len(rows)),
        neuron=np.concatenate([rng.choice(sites_.n_neurons, 5, replace=False) for _ in rows]),
        factor=np.full(len(row), 0.5),
        offset=np.zeros(len(row)),
    )
    for done in engine.passes(targets, rows, cells):
        for number, hidden in zip(done.rows.tolist(), done.hidden, strict=True):
            if number in (0, 3, 8):
                with torch.no_grad():
                    expected = _alone(loaded, targets[rows[number]], cells, number)
                    close(engine.head.logits(hidden[None])[0], expected, family.rounding or 1e-5)
