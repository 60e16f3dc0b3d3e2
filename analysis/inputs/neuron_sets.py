"""The neuron sets of a test that takes a study or ready sets."""

from __future__ import annotations

from qloc.analysis.inputs.study import Study
from qloc.neurons import NeuronSets


def sets_and_store(study: Study | NeuronSets, method: str, threshold: float) -> tuple[NeuronSets, str]:
    """The sets that are asked about, and the fingerprint of the store that they are from."""
    if isinstance(study, NeuronSets):
        return study, ""
    return study.neurons(method=method, threshold=threshold), study.fingerprint
