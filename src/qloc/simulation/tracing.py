"""Planted causal tracing: the answer is lost by corrupting the subject, and states bring shares of it back.

The log-odds that a restoration brings back are a share of what corrupting the query loses, plus the nested
terms of the study. MLPs at the subject's last token bring back the most, and more in later layers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from qloc.arrays import Floats
from qloc.phase_plan import TOKEN_ROLES, TRACING_PARTS, TracingPlan
from qloc.random_streams import Stream
from qloc.simulation.interventions import Effects, base_odds, coordinates, nested
from qloc.simulation.planted import Planted
from qloc.vocabulary import CORRUPTION, LAYER, NO_INDEX, QUERY, TOKEN_ROLE, TRACING_PART

LOST: Final = 6.0
"""Mean log-odds lost by corrupting the subject."""

SITE: Final = "traced_site"
"""Of :class:`Effects`, what names the log-odds that MLPs bring back at the subject's last token."""

BROUGHT_BACK: Final = {SITE: 3.0}
"""Mean log-odds, in the last layer, beside what all states bring back."""

EVERYWHERE: Final = 0.1
"""Share of what is lost that every state brings back."""


def planted_tracing(planted: Planted, effects: Effects, samples: int = 2) -> xr.Dataset:
    """Draw group ``/tracing``, under the names and dims of the store's contract.

    Parameters
    ----------
    planted : Planted
        The study, whose known queries are traced, of facts and of minimal pairs.
    effects : Effects
        How much restoring brings back, and how much this varies.
    samples : int
        Samples of noise.

    Returns
    -------
    xarray.Dataset
        Every variable of the group. A third of the subjects have one token alone.
    """
    rng, c = Stream.PLANTED_TRACING.generator(effects.seed), planted.columns
    corruptions, n_layers = TracingPlan(samples=samples).corruptions, planted.planting.n_layers
    traced, odds = c.known, base_odds(planted)
    lost = np.abs(LOST + nested(planted, effects, rng)) + rng.normal(0, 0.3, (len(corruptions), len(odds)))
    shape = (len(TRACING_PARTS), len(TOKEN_ROLES), n_layers, len(corruptions), len(odds))
    back = EVERYWHERE * lost + rng.normal(0, 0.3, shape)
    for part in range(len(TRACING_PARTS)):
        for role in range(len(TOKEN_ROLES)):
            back[part, role] += 0.2 * nested(planted, effects, rng)
    site = TRACING_PARTS.index("mlp"), TOKEN_ROLES.index("last_subject")
    rising = np.linspace(0, 1, n_layers)[:, None, None]
    back[site] += effects.of(SITE, BROUGHT_BACK) * rising
    short = rng.random(c.n_facts)[c.fact] < 1 / 3
    n_tokens = np.where(traced, np.ones((len(TOKEN_ROLES), 1), dtype=np.int32), NO_INDEX)
    n_tokens[:2] = np.where(traced & short, 0, n_tokens[:2])
    after = np.where(n_tokens[None, :, None, None] > 0, odds - lost + back, np.nan)
    other = np.where(traced, (c.fact + 1) % c.n_facts, NO_INDEX)
    corrupted = np.where(traced, odds - lost, np.nan)
    return xr.Dataset(
        {
            **_both("", (TRACING_PART, TOKEN_ROLE, LAYER, CORRUPTION, QUERY), after),
            **_both("corrupted_", (CORRUPTION, QUERY), corrupted),
            **_both("clean_", (QUERY,), np.where(traced, odds, np.nan)),
            "n_role_tokens": ((TOKEN_ROLE, QUERY), n_tokens.astype(np.int32)),
            "other_subject": ((QUERY,), other.astype(np.int32)),
        },
        coords=coordinates(planted),
    ).assign_coords(
        {TRACING_PART: list(TRACING_PARTS), TOKEN_ROLE: list(TOKEN_ROLES), CORRUPTION: list(corruptions)}
    )


def _both(prefix: str, dims: tuple[str, ...], odds: Floats) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Return log-odds and probabilities."""
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-odds))
    return {
        f"{prefix}log_odds": (dims, odds.astype(np.float32)),
        f"{prefix}probability": (dims, probability.astype(np.float32)),
    }
