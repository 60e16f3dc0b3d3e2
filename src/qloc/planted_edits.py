"""Planted outcomes of edits: how much they move, how far they carry, and what they damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.phase_plan import EDIT_OPERATIONS, EDIT_SETS, UPDATED_ONLY
from qloc.planted import Planted
from qloc.planted_effects import Effects, base_odds, log_p, nested

MOVED: Final[Mapping[str, float]] = {
    **{"own": 6.0, "union": 8.0, "refined": 4.0, "cas": 7.0, "cas_no_penalty": 6.5, "own_top": 6.0},
    **{"union_top": 6.5, "cas_top": 7.0, "matched": 1.0, "other_fact": 1.0, "in_context": 8.0},
    **{"rome": 9.0, "rome_identity": 8.5},
}
"""Mean log-odds moved, by edited set."""

N_PROBES: Final = 4
N_STEPS: Final = 3


def edits_of(
    planted: Planted,
    effects: Effects,
    operations: Sequence[str] = EDIT_OPERATIONS,
    sets: Sequence[str] = EDIT_SETS,
    *,
    per_nat: float = 0.0,
    damage: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Group /edits, under the names and dims of the store's contract.

    Parameters
    ----------
    damage : edited set → mean nats a token; a tenth of what it moves on the mean where it is not named.
    per_nat : log-odds that an edit moves more for each nat a token that it damages.
    """
    rng = np.random.default_rng([effects.seed, 23])
    c = planted.columns
    layout = _Layout(planted, rng)
    arms = (len(operations), len(sets))
    shape, of_probes = (*arms, *layout.query.shape), (*arms, c.n_facts, N_PROBES)
    odds, new = np.full(shape, np.nan), np.full(shape, np.nan)
    nats = np.full((*arms, c.n_facts), np.nan)
    size = np.bincount(c.fact, weights=np.diff(planted.member.indptr), minlength=c.n_facts)
    base, base_new = base_odds(planted), base_odds(planted) - 8.0
    for o, operation in enumerate(operations):
        for s, name in enumerate(sets):
            if name in UPDATED_ONLY and operation != "update":
                continue
            mean = effects.mean.get(name, MOVED.get(name, 0.0))
            nats[o, s] = (damage or {}).get(name, 0.1 * mean) + 0.3 * rng.standard_normal(c.n_facts)
            moved = mean + per_nat * nats[o, s][c.fact] + nested(planted, effects, rng)
            if name not in UPDATED_ONLY:  # no neurons, no edit
                nats[o, s][size == 0] = np.nan
                moved[size[c.fact] == 0] = np.nan
            odds[o, s] = layout.by_fact(base - moved)
            new[o, s] = layout.by_fact(base_new + (0.0 if operation == "erase" else 1.5) * moved)
    efk, fk = ("edit_operation", "edit_set", "fact", "query_of_fact"), ("fact", "query_of_fact")
    efp, ef = ("edit_operation", "edit_set", "fact", "probe"), ("edit_operation", "edit_set", "fact")
    text = np.where(layout.edited[None, None] >= 0, nats, np.nan)
    slots = np.tile(size.astype(np.int32), (len(sets), 1))
    for place, name in enumerate(sets):
        if name == "in_context":
            text[:, place], slots[place] = np.nan, 0
        elif name in UPDATED_ONLY:
            slots[place] = planted.outline.sizes["neuron"]
    kl = np.where(np.isnan(nats)[..., None], np.nan, rng.gamma(1.0, 0.1, of_probes))
    same = np.where(np.isnan(kl), -1, np.where(kl < 0.2, 10, 11)).astype(np.int32)
    variables: dict[str, Any] = {
        "edited_query": (("fact",), layout.edited.astype(np.int32)),
        "new_object": (("fact",), np.full(c.n_facts, "new")),
        "held_out": (fk, layout.held_out),
        "n_slots": (("edit_set", "fact"), slots),
        **_told("", efk, odds, new),
        **_told("base_", fk, layout.by_fact(base), layout.by_fact(base_new)),
        "probe_query": (("fact", "probe"), np.zeros((c.n_facts, N_PROBES), dtype=np.int32)),
        "probe_kind": (("fact", "probe"), np.full((c.n_facts, N_PROBES), "other_answer_other_relation")),
        "probe_log_probability": (efp, -kl.astype(np.float32)),
        "probe_argmax": (efp, same),
        "probe_kl": (efp, kl.astype(np.float32)),
        "base_probe_log_probability": (("fact", "probe"), np.zeros((c.n_facts, N_PROBES), np.float32)),
        "base_probe_argmax": (("fact", "probe"), np.full((c.n_facts, N_PROBES), 10, dtype=np.int32)),
        "text_nats": (ef, text.astype(np.float32)),
        "base_text_nats": (("fact",), np.full(c.n_facts, 3.0, dtype=np.float32)),
        "greedy_token_id": ((*ef, "step"), np.zeros((*arms, c.n_facts, N_STEPS), dtype=np.int32)),
    }
    coords = {"edit_operation": list(operations), "edit_set": list(sets)}
    attrs = {"method": planted.planting.methods[0], "threshold": 0.2}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _told(
    prefix: str, dims: tuple[str, ...], odds: NDArray[np.float64], new: NDArray[np.float64]
) -> dict[str, Any]:
    there = ~np.isnan(odds)
    rank = np.where(there, np.where(odds > 0, 1, 2), -1).astype(np.int32)
    new_rank = np.where(there, np.where(new > 0, 1, 2), -1).astype(np.int32)
    return {
        f"{prefix}log_probability": (dims, log_p(odds)),
        f"{prefix}rank": (dims, rank),
        f"{prefix}argmax": (dims, np.where(there, np.where(rank == 1, 10, 11), -1).astype(np.int32)),
        f"{prefix}new_log_probability": (dims, log_p(new)),
        f"{prefix}new_rank": (dims, new_rank),
    }


class _Layout:
    """Which query of a fact is edited, which are held out, and queries' values by fact."""

    def __init__(self, planted: Planted, rng: np.random.Generator) -> None:
        c = planted.columns
        fact = c.fact.astype(np.int64)
        place = np.arange(len(fact)) - np.searchsorted(fact, fact)
        width = planted.outline.sizes["query_of_fact"]
        self.query = np.full((c.n_facts, width), -1, dtype=np.int64)
        self.query[fact, place] = np.arange(len(fact))
        there = self.query >= 0
        known = there & c.known[self.query]
        order = np.argsort(np.where(there, rng.random(there.shape) + ~known, np.inf), axis=1)
        first = np.take_along_axis(self.query, order[:, :1], axis=1)[:, 0]
        self.edited = np.where(c.is_pair, -1, first)
        # Of a fact's other queries, half are held out: at least one where there are two.
        others = there & (self.query != self.edited[:, None])
        rank = np.argsort(np.argsort(np.where(others, rng.random(there.shape), np.inf), axis=1), axis=1)
        n = others.sum(axis=1)
        held = others & (rank < np.where(n >= 2, np.maximum(1, n // 2), 0)[:, None])
        self.held_out = np.where(there, held.astype(np.int8), -1).astype(np.int8)

    def by_fact(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of queries by fact: float64, (fact, query_of_fact); NaN where there is no query."""
        return np.where(self.query >= 0, values[self.query], np.nan)
