"""Planted outcomes of edits: how much an edit moves, how far it carries, and what it damages.

The log-odds that an edit moves at query q of set s are m_s + ``per_nat`` · nats + the nested terms of
:mod:`qloc.simulation.interventions`. ``erase`` and ``update`` lower the log-odds of the old answer o by as
much; an update raises those of the new answer o′ by 1.5 times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.arrays import Floats
from qloc.phase_plan import EDIT_OPERATIONS, EDIT_SETS, IN_CONTEXT, UPDATED_ONLY
from qloc.random_streams import Stream
from qloc.simulation.interventions import Effects, base_odds, log_p, nested
from qloc.simulation.planted import Planted
from qloc.vocabulary import EDIT_OPERATION, EDIT_SET, FACT, PROBE, QUERY_OF_FACT, STEP

MOVED: Final[Mapping[str, float]] = {
    **{"own": 6.0, "union": 8.0, "refined": 4.0, "cas": 7.0, "cas_no_penalty": 6.5, "own_top": 6.0},
    **{"union_top": 6.5, "cas_top": 7.0, "matched": 1.0, "other_fact": 1.0, "in_context": 8.0},
    **{"rome": 9.0, "rome_identity": 8.5, "rome_as_coded": 8.0, "rome_traced": 9.5},
}
"""Mean log-odds moved, by edited set."""

N_PROBES: Final = 4
"""Probes of each fact: queries of other subjects, by which damage is measured."""

N_GREEDY_TOKENS: Final = 3
"""Greedy tokens that are kept of each edit."""

_NEW: Final = -8.0
"""Log-odds of o′ before an edit, less those of o."""

_EF, _FK = (EDIT_OPERATION, EDIT_SET, FACT), (FACT, QUERY_OF_FACT)
_EFK = (*_EF, QUERY_OF_FACT)

Variables = dict[str, tuple[tuple[str, ...], NDArray[Any]]]


def planted_edits(
    planted: Planted,
    effects: Effects,
    operations: Sequence[str] = EDIT_OPERATIONS,
    sets: Sequence[str] = EDIT_SETS,
    *,
    per_nat: float = 0.0,
    damage: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Draw group ``/edits``, under the names and dims of the store's contract.

    Parameters
    ----------
    planted : Planted
        The study whose facts are edited.
    effects : Effects
        How much edits move on average, and how much this varies.
    operations : sequence of str
        Edit operations, of :data:`qloc.phase_plan.EDIT_OPERATIONS`.
    sets : sequence of str
        Edited sets, of :data:`qloc.phase_plan.EDIT_SETS`.
    per_nat : float
        Log-odds that an edit moves in addition for each nat a token that it damages.
    damage : mapping of str to float, optional
        Edited set → mean damage in nats a token. A set that is not named damages a tenth of what it moves.

    Returns
    -------
    xarray.Dataset
        Every variable of the group that a store does not copy from another.
    """
    rng = Stream.PLANTED_EDITS.generator(effects.seed)
    layout = _Layout(planted, rng)
    damage = {name: 0.1 * effects.of(name, MOVED) for name in sets} | dict(damage or {})
    made = _outcomes(planted, effects, layout, (operations, sets), (per_nat, damage), rng)
    base = base_odds(planted)
    variables = {
        **_of_facts(planted, layout, sets),
        **_answer_columns("", _EFK, made.odds, made.new),
        **_answer_columns("base_", _FK, layout.by_fact(base), layout.by_fact(base + _NEW)),
        **_of_probes(made.nats, rng),
        **_of_texts(made.nats, layout, sets, effects),
    }
    coords = {EDIT_OPERATION: list(operations), EDIT_SET: list(sets)}
    attrs = {"method": planted.planting.methods[0], "threshold": 0.2}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


@dataclass(frozen=True)
class _Outcomes:
    """What every edit does.

    Attributes
    ----------
    odds, new : float64 ndarray, shape (operation, set, fact, query_of_fact)
        Log-odds of o and of o′.
    nats : float64 ndarray, shape (operation, set, fact)
        Damage in nats a token.
    """

    odds: Floats
    new: Floats
    nats: Floats


def _outcomes(
    planted: Planted,
    effects: Effects,
    layout: _Layout,
    arms: tuple[Sequence[str], Sequence[str]],
    damages: tuple[float, Mapping[str, float]],
    rng: np.random.Generator,
) -> _Outcomes:
    """Draw what every edit of every fact does; NaN where nothing is edited."""
    c, (per_nat, damage), n_arms = planted.columns, damages, tuple(map(len, arms))
    outcomes = _Outcomes(
        odds=np.full((*n_arms, *layout.query.shape), np.nan),
        new=np.full((*n_arms, *layout.query.shape), np.nan),
        nats=np.full((*n_arms, c.n_facts), np.nan),
    )
    base, nothing = base_odds(planted), _n_neurons(planted) == 0
    for at in np.ndindex(n_arms):
        operation, name = (labels[place] for labels, place in zip(arms, at, strict=True))
        if name in UPDATED_ONLY and operation != "update":
            continue
        nats = damage[name] + 0.3 * rng.standard_normal(c.n_facts)
        moved = effects.of(name, MOVED) + per_nat * nats[c.fact] + nested(planted, effects, rng)
        if name not in UPDATED_ONLY:  # no neurons, no edit
            nats[nothing], moved[nothing[c.fact]] = np.nan, np.nan
        outcomes.nats[at] = nats
        outcomes.odds[at] = layout.by_fact(base - moved)
        outcomes.new[at] = layout.by_fact(base + _NEW + (0.0 if operation == "erase" else 1.5) * moved)
    return outcomes


def _n_neurons(planted: Planted) -> NDArray[np.int64]:
    """Count the neurons in the sets of each fact's queries: int64, (fact,)."""
    size, c = np.diff(planted.member.indptr), planted.columns
    return np.bincount(c.fact, weights=size, minlength=c.n_facts).astype(np.int64)


def _of_facts(planted: Planted, layout: _Layout, sets: Sequence[str]) -> Variables:
    slots = np.tile(_n_neurons(planted).astype(np.int32), (len(sets), 1))
    slots[[name in UPDATED_ONLY for name in sets]] = planted.outline.sizes["neuron"]  # a whole layer, ROME's
    slots[[name == IN_CONTEXT for name in sets]] = 0
    return {
        "edited_query": ((FACT,), layout.edited.astype(np.int32)),
        "new_object": ((FACT,), np.full(len(layout.edited), "new")),
        "held_out": (_FK, layout.held_out),
        "n_slots": ((EDIT_SET, FACT), slots),
    }


def _of_probes(nats: Floats, rng: np.random.Generator) -> Variables:
    """Draw what edits do to probes. A KL of 0.2 nats or more changes the answer."""
    shape, dims, n = (*nats.shape, N_PROBES), (FACT, PROBE), (nats.shape[-1], N_PROBES)
    kl = np.where(np.isnan(nats)[..., None], np.nan, rng.gamma(1.0, 0.1, shape)).astype(np.float32)
    with np.errstate(invalid="ignore"):
        same = np.where(np.isnan(kl), -1, np.where(kl < 0.2, 10, 11)).astype(np.int32)
    return {
        "probe_query": (dims, np.zeros(n, dtype=np.int32)),
        "probe_kind": (dims, np.full(n, "other_answer_other_relation")),
        "probe_log_probability": ((*_EF, PROBE), -kl),
        "probe_argmax": ((*_EF, PROBE), same),
        "probe_kl": ((*_EF, PROBE), kl),
        "base_probe_log_probability": (dims, np.zeros(n, dtype=np.float32)),
        "base_probe_argmax": (dims, np.full(n, 10, dtype=np.int32)),
    }


def _of_texts(nats: Floats, layout: _Layout, sets: Sequence[str], effects: Effects) -> Variables:
    """Return damage as it is measured: on both halves of a text, each with an error of its own."""
    text = np.where(layout.edited >= 0, nats, np.nan)
    text[:, [name == IN_CONTEXT for name in sets]] = np.nan
    rng = Stream.PLANTED_DAMAGE_ERROR.generator(effects.seed)
    halves = text + np.sqrt(2) * effects.damage_error * rng.standard_normal((2, *text.shape))
    return {
        "text_nats": (_EF, halves.mean(axis=0).astype(np.float32)),
        "text_nats_first": (_EF, halves[0].astype(np.float32)),
        "text_nats_second": (_EF, halves[1].astype(np.float32)),
        "base_text_nats": ((FACT,), np.full(len(layout.edited), 3.0, dtype=np.float32)),
        "greedy_token_id": ((*_EF, STEP), np.zeros((*nats.shape, N_GREEDY_TOKENS), dtype=np.int32)),
    }


def _answer_columns(prefix: str, dims: tuple[str, ...], odds: Floats, new: Floats) -> Variables:
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
    """The query of each fact that is edited, those that are held out, and queries' values by fact."""

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
        """Return values of queries by fact: float64, (fact, query_of_fact); NaN where there is no query."""
        return np.where(self.query >= 0, values[self.query], np.nan)
