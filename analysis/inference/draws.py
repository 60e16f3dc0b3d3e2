"""How much a test draws, and from which seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How much is drawn, and from which seed; as in an analysis plan."""

    n_permutations: int = 999
    n_bootstrap: int = 999
    confidence: float = 0.95
    alpha: float = 0.05
    seed: int = 0


DRAWS: Final = Draws()
"""What a test draws where nobody says otherwise."""
