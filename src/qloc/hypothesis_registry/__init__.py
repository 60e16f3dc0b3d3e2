"""Every hypothesis, once. Needs nothing but the standard library, so that a command line starts light."""

from qloc.hypothesis_registry.hypothesis import ACCOUNTS, Claims, Direction, Hypothesis, Phase, Region
from qloc.hypothesis_registry.registry import CONFIRMABLE, REGISTRY, hypothesis_of

__all__ = [
    "ACCOUNTS",
    "CONFIRMABLE",
    "REGISTRY",
    "Claims",
    "Direction",
    "Hypothesis",
    "Phase",
    "Region",
    "hypothesis_of",
]
