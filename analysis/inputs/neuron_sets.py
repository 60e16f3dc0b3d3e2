"""Neuron sets for tests that take either a study or sets that are already selected."""

from __future__ import annotations

from qloc.analysis.inputs.study import Study
from qloc.neurons import NeuronSets


def sets_and_store(study: Study | NeuronSets, method: str, threshold: float) -> tuple[NeuronSets, str]:
    """Return the neuron sets to test, and the fingerprint of the store that they come from.

    Parameters
    ----------
    study : Study or NeuronSets
        A study, whose sets are selected here, or sets, which are returned as they are.
    method : str
        Attribution method; used for a study only.
    threshold : float
        Share of the maximum that a knowledge neuron's attribution exceeds; used for a study only.

    Returns
    -------
    sets : NeuronSets
        The sets of all queries.
    store : str
        Fingerprint of the study's store; empty for sets.
    """
    if isinstance(study, NeuronSets):
        return study, ""
    return study.neurons(method=method, threshold=threshold), study.fingerprint
