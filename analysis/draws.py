"""How much a test draws, from which seed, and from which sets of neurons."""

from __future__ import annotations

from dataclasses import dataclass

from qloc.analysis.study import Study
from qloc.neurons import NeuronSets

__all__ = ["Draws", "sets_and_store"]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How much is drawn, and from which seed; as in an analysis plan."""

    n_permutations: int = 999
    n_bootstrap: int = 999
    confidence: float = 0.95
    alpha: float = 0.05
    seed: int = 0


def sets_and_store(study: Study | NeuronSets, method: str, threshold: float) -> tuple[NeuronSets, str]:
    """The sets that are asked about, and the fingerprint of the store that they are from."""
    if isinstance(study, NeuronSets):
        return study, ""
    return study.neurons(method=method, threshold=threshold), study.fingerprint
