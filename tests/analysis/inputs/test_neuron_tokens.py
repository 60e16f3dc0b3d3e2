"""Tokens of neurons as texts, by the numbers of the neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from qloc.analysis.inputs.neuron_tokens import NeuronTokens, neuron_tokens
from qloc.analysis.inputs.study import Study


def with_tokens(study: Study) -> Study:
    """Give a study tokens of its neuron 3 of layer 1, two of them, and of its neuron 0 of layer 0, one."""
    sets = study.neurons()
    promoted = np.full((sets.n_layers, sets.n_neurons, 10), -1, dtype=np.int32)
    suppressed = promoted.copy()
    promoted[1, 3, :2], suppressed[1, 3, :2] = (2, 0), (1, 2)
    promoted[0, 0, 0], suppressed[0, 0, 0] = 1, 0
    dims = ("layer", "neuron", "place")
    here = xr.Dataset(
        {
            "promoted_token_id": (dims, promoted),
            "suppressed_token_id": (dims, suppressed),
            "token": ("vocabulary", np.array([" Paris", "x", " der"], dtype=object)),
        }
    )
    return replace(study, datasets={**study.datasets, "neurons": here})


def test_tokens_are_those_of_the_neurons_number(study: Study) -> None:
    layer = study.neurons().n_neurons
    assert neuron_tokens(with_tokens(study), [5, layer + 3, 0]) == {
        layer + 3: NeuronTokens(promoted=(" der", " Paris"), suppressed=("x", " der")),
        0: NeuronTokens(promoted=("x",), suppressed=(" Paris",)),
    }


def test_a_study_without_tokens_has_none(study: Study) -> None:
    assert neuron_tokens(study, [0, 1]) == {}
    assert neuron_tokens(with_tokens(study), []) == {}
