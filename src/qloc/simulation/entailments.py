"""Planted outcomes of what edits entail: an inverse, two synonyms and a neighbor of every edited fact.

The log-odds that an entailed answer gains are a share of what the edit gives the new answer on average, plus
one term for each relation and each fact. The neighbor loses a tenth of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from qloc.arrays import Floats
from qloc.phase_plan import (
    GENERATED_LABELS,
    NEIGHBORHOOD,
    NEW_INVERSE,
    OLD_INVERSE,
    SYNONYM,
    SYNONYM_OF_STEM,
)
from qloc.random_streams import Stream
from qloc.simulation.edits import MOVED, N_GREEDY_TOKENS
from qloc.simulation.interventions import Effects, log_p
from qloc.simulation.planted import Planted
from qloc.vocabulary import EDIT_OPERATION, EDIT_SET, ENTAILED, FACT, GENERATED, STEP

KINDS: Final = (NEW_INVERSE, OLD_INVERSE, SYNONYM, SYNONYM_OF_STEM, NEIGHBORHOOD)
"""The prompts of each edited fact, in order."""

SHARES: Final[Mapping[str, tuple[float, float]]] = {
    NEW_INVERSE: (0.0, 0.1),
    OLD_INVERSE: (-0.2, 0.0),
    SYNONYM: (-0.5, 0.5),
    SYNONYM_OF_STEM: (-1.0, 1.0),
    NEIGHBORHOOD: (-0.1, 0.1),
}
"""Kind → share of the log-odds moved by which the old answer, and the new one, are moved."""

_BEFORE: Final = {True: 2.0, False: -6.0}
"""Log-odds of the old answer and of the new one before the edit; nobody has the new object's inverse."""


def planted_entailments(planted: Planted, effects: Effects, edits: xr.Dataset) -> xr.Dataset:
    """Draw group ``/entailments``, under the names and dims of the store's contract.

    Parameters
    ----------
    planted : Planted
        The study whose facts are edited.
    effects : Effects
        How much edits move on average, and how much this varies by relation and fact.
    edits : xarray.Dataset
        The planted edits: an edit that was not made entails nothing.

    Returns
    -------
    xarray.Dataset
        Every variable of the group that a store does not copy from another.
    """
    rng, c = Stream.PLANTED_ENTAILMENTS.generator(effects.seed), planted.columns
    there = edits["edited_query"].values >= 0
    relation = np.unique(planted.outline.facts["relation"].astype(str), return_inverse=True)[1]
    sizes = len(edits[EDIT_OPERATION]), len(edits[EDIT_SET]), c.n_facts, len(KINDS)
    odds = {True: np.full(sizes, np.nan), False: np.full(sizes, np.nan)}
    for at in np.ndindex(sizes[:2]):
        made = there & np.isfinite(edits["new_log_probability"].values[at]).any(axis=1)
        moved = effects.of(str(edits[EDIT_SET].values[at[1]]), MOVED)
        for place, kind in enumerate(KINDS):
            noise = effects.relation * rng.standard_normal(relation.max() + 1)[relation]
            noise += effects.fact * rng.standard_normal(c.n_facts)
            for old, share in zip((True, False), SHARES[kind], strict=True):
                gone = str(edits[EDIT_OPERATION].values[at[0]]) == "erase" and not old
                value = _BEFORE[old] + (0.0 if gone else share * moved + (noise if share > 0 else -noise))
                odds[old][(*at, slice(None), place)] = np.where(made & _asked(kind, old), value, np.nan)
    kinds = np.where(there[:, None], np.array(KINDS), "").astype(object)
    base = {
        old: np.where(there[:, None] & [_asked(kind, old) for kind in KINDS], value, np.nan)
        for old, value in _BEFORE.items()
    }
    dims, n = (EDIT_OPERATION, EDIT_SET, FACT), (*sizes[:3], len(GENERATED_LABELS), N_GREEDY_TOKENS)
    variables = {
        "kind": ((FACT, ENTAILED), kinds),
        "partner": ((FACT,), np.full(c.n_facts, -1, dtype=np.int32)),
        **_columns("", (*dims, ENTAILED), odds),
        **_columns("base_", (FACT, ENTAILED), base),
        "generated_token_id": ((*dims, GENERATED, STEP), np.zeros(n, dtype=np.int32)),
        "base_generated_token_id": ((FACT, GENERATED, STEP), np.zeros(n[2:], dtype=np.int32)),
    }
    coords = {name: edits[name].values.tolist() for name in (EDIT_OPERATION, EDIT_SET)}
    return xr.Dataset(variables, coords={**coords, GENERATED: list(GENERATED_LABELS)})


def _asked(kind: str, old: bool) -> bool:
    """Whether there is such an answer: nobody had the new object, and nobody gets the old one."""
    return (kind, old) not in ((NEW_INVERSE, True), (OLD_INVERSE, False))


def _columns(
    prefix: str, dims: tuple[str, ...], odds: Mapping[bool, Floats]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    columns: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for old, values in odds.items():
        name = prefix if old else f"{prefix}new_"
        rank = np.where(np.isnan(values), -1, np.where(values > 0, 1, 2)).astype(np.int32)
        columns |= {f"{name}log_probability": (dims, log_p(values)), f"{name}rank": (dims, rank)}
    return columns
