"""Prove on each loaded model how rows may join (:mod:`qloc.extract.passes.late_join`).

The way of joining is not looked up by architecture: it is compared with rows that each run all layers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.models.unsupported import MODEL_FAILURES
from qloc.extract.passes.activation_changes import Cells
from qloc.extract.passes.block_arguments import carried
from qloc.extract.passes.late_join import JoinMode
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.passes.weight_changes import Edit, EditRows
from qloc.extract.prompts.tokenizing import Target

log = logging.getLogger(__name__)

_ALLOWED: Final = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Largest difference from the plain way, relative to what the changes make of the hidden states; 0.1 in half
precision. float64: transformers' RMSNorm computes in float32 even then."""

ChangeKind = Literal["cells", "edits"]


def joining(engine: RowEngine, targets: Sequence[Target], what: ChangeKind) -> RowEngine:
    """Return the engine with rows that join in the quickest way that gives what the plain way gives.

    The proof runs on the shortest and the longest target, with changes of each layer and the last one. In
    half precision rows join before their block, where their activations are set exactly, and the model's
    own activation functions are kept.

    Parameters
    ----------
    engine : RowEngine
        The engine to prove.
    targets : sequence of Target
        Targets that it will run.
    what : {"cells", "edits"}
        The changes that are to be run: of activations at the target, or of weights.

    Returns
    -------
    RowEngine
        The same engine with ``way`` set; None, with a warning, where no way of joining holds.
    """
    plain = replace(engine, way=None)
    ends = [pick(targets, key=lambda target: len(target.ids)) for pick in (min, max)]
    dtype = next(iter(engine.model.parameters())).dtype
    whole = what == "edits" or not engine.shared
    joins: tuple[Literal["after", "before"], ...] = ("after", "before") if dtype in _ALLOWED else ("before",)
    try:
        entries = carried(engine.model, engine.sites, "masked" if whole else engine.family, ends)
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        return _plain_with_warning(plain, f"blocks cannot be looked into ({error})")
    expected = _hidden(plain, ends, what)
    for cut in (True, False) if whole else (False,):
        for join in joins:
            trial = replace(
                engine, way=JoinMode(join=join, cut=cut, carried=entries, fused=dtype in _ALLOWED)
            )
            if _holds(trial, ends, what, expected, _ALLOWED.get(dtype, 0.1)):
                return trial
    return _plain_with_warning(plain, "no way to join gives what it gives")


def _plain_with_warning(plain: RowEngine, why: str) -> RowEngine:
    warning = "changed rows run all layers of %s, which may take several times longer: %s"
    log.warning(warning, plain.model.config.model_type, why)
    return plain


def _holds(trial: RowEngine, ends: list[Target], what: ChangeKind, expected: Tensor, allowed: float) -> bool:
    if trial.way is None:
        raise AssertionError("a way is tried")
    try:
        joined = _hidden(trial, ends, what)
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        log.info("rows that join %s their block do not run: %s", trial.way.join, error)
        return False
    effect = (expected - expected[:, :1]).abs().amax((1, 2), keepdim=True)
    worst = float(((joined - expected).abs() / effect).amax().nan_to_num(torch.inf))
    difference = "rows that join %s their block (last block cut: %s) differ by %.1e of the changes' effect"
    log.info(difference, trial.way.join, trial.way.cut, worst)
    return worst <= allowed


def _hidden(engine: RowEngine, ends: list[Target], what: ChangeKind) -> Tensor:
    """Return final hidden states, (target, change, hidden), float64: of no change, then of each layer's."""
    sites = engine.sites
    n_rows = sites.n_layers + 1
    row_target, row = np.divmod(np.arange(len(ends) * n_rows), n_rows)
    slots = [_slots(sites, layer) for layer in range(sites.n_layers)]
    cells, edits = Cells.none(), None
    if what == "edits":
        edits = EditRows(sites, [None, *(_erased(sites, of_layer) for of_layer in slots)], row)
    else:
        cells = _halved(sites, slots, row)
    by_row: dict[int, Tensor] = {}
    for batch in engine.passes(ends, row_target, cells, edits=edits):
        by_row |= dict(zip(batch.rows.tolist(), batch.hidden.double(), strict=True))
    hidden = torch.stack([by_row[place] for place in range(len(row))])
    return hidden.view(len(ends), n_rows, -1)


def _slots(sites: Sites, layer: int) -> np.ndarray:
    """Return one neuron in sixteen of a layer and of the last one: numbers layer · n_neurons + index."""
    layers = np.unique([layer, sites.n_layers - 1])[:, None]
    return (layers * sites.n_neurons + np.arange(0, sites.n_neurons, 16)).ravel()


def _halved(sites: Sites, slots: list[np.ndarray], row: np.ndarray) -> Cells:
    of_row = [slots[one - 1] if one else np.zeros(0, dtype=np.int64) for one in row.tolist()]
    layer, neuron = np.divmod(np.concatenate(of_row), sites.n_neurons)
    return Cells(
        row=np.repeat(np.arange(len(row)), [len(one) for one in of_row]),
        layer=layer,
        neuron=neuron,
        factor=np.full(len(layer), 0.5),
        offset=np.zeros(len(layer)),
    )


def _erased(sites: Sites, slots: np.ndarray) -> Edit:
    """Return an edit that sets rows of down-projections to 0."""
    layer, neuron = np.divmod(slots, sites.n_neurons)
    rows = [
        down_weight(sites.downs[at])[:, int(place)] for at, place in zip(layer.tolist(), neuron, strict=True)
    ]
    return Edit(layer=layer, neuron=neuron, change=-torch.stack([row.to(rows[0].device) for row in rows]))
