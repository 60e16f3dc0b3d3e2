"""A planted study whose facts were viewed with their synapses suppressed, as extraction would store it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from qloc.analysis.inputs.study import Study

N_VIEWS = 40


def viewed(study: Study, facts: list[int]) -> Study:
    """Every panel neuron of these facts, 40 at most: activations halved, gradients doubled by synapses' loss."""
    fact = study.column("queries", "fact")
    panel = study.signals["panel_neuron"].values[fact]
    n, slots = panel.shape[0], min(N_VIEWS, panel.shape[1])
    here = np.isin(fact, facts)
    neuron = np.where(here[:, None], panel[:, :slots], -1)
    told = neuron >= 0
    shape = study.attention["target_row"].shape
    rng = np.random.default_rng(1)
    length = study.attention["length"].values
    inside = np.arange(shape[3]) < length[:, None]
    synapse = np.where(inside[:, None, None], rng.random(shape) < 0.3, -1)
    synapse[~here] = -1
    text = np.array([[f" token{place}" for place in range(shape[3])]] * n, dtype=object)
    text[~(inside & here[:, None])] = ""
    views = xr.Dataset(
        {
            "viewed_neuron": (("query", "view"), neuron.astype(np.int32)),
            **{
                name: (
                    ("query", "view"),
                    np.where(told, factor * study.signals[name].values[:, :slots], np.nan).astype(np.float32),
                )
                for name, factor in (("activation", 0.5), ("gradient", 2.0))
            },
            "synapse": (("query", "layer", "head", "token"), synapse.astype(np.int8)),
            "token_text": (("query", "token"), text),
        }
    )
    return replace(study, datasets={**study.datasets, "synapse_views": views})
