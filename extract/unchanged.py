"""Queries with nothing changed: their activations at the target, and how their answers stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from qloc.block import Array
from qloc.extract.changed_rows import Cells, RowEngine
from qloc.extract.outcomes import OutcomeColumns, outcomes
from qloc.extract.tokens import Asked, Tokens


def unchanged(engine: RowEngine, asked: Sequence[Asked], base: OutcomeColumns | None = None) -> Array:
    """Activations at the target, mean over answer tokens: (query, layer, neuron), float32 at least.

    Parameters
    ----------
    base : columns (query) that the answers are added to.
    """
    tokens, sites = Tokens.of(asked), engine.sites
    wide = np.float64 if engine.wide is torch.float64 else np.float32
    found = np.zeros((len(asked), sites.n_layers, sites.n_neurons), dtype=wide)
    for done in engine.passes(tokens.targets, np.arange(len(tokens.targets)), Cells.none(), read=True):
        if done.activation is None:
            raise AssertionError("activations were asked for")
        of, share = tokens.query[done.rows], tokens.share[done.rows]
        given = done.activation.to(engine.wide).cpu().numpy()
        np.add.at(found, of, share[:, None, None].astype(wide) * given)
        if base is not None:
            said = outcomes(engine.head, done.hidden, tokens.answers[done.rows])
            base.add(of, tokens.first[done.rows], share, said)
    return found
