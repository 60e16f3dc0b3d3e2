"""Make the Datasets of a store from Blocks in memory: for tests, teaching and calibration, without a disk.

This is an independent second implementation of what the store does on disk. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from qloc.arrays import Array
from qloc.block import Block, Outline
from qloc.vocabulary import (
    ANSWER_TOKEN,
    CANDIDATE,
    FACT,
    HEAD,
    LAYER,
    METHOD,
    NEURON,
    NO_INDEX,
    QUERY,
    QUERY_OF_FACT,
    RELATION,
    SLOT,
    TOKEN,
    TOP,
)

_SECOND_AXIS = {
    "answer_token_id": ANSWER_TOKEN,
    "target_position": ANSWER_TOKEN,
    "token_log_probability": ANSWER_TOKEN,
    "token_rank": ANSWER_TOKEN,
    "top_token_id": TOP,
    "top_log_probability": TOP,
    "candidate_log_probability": CANDIDATE,
}


def datasets_of(
    outline: Outline,
    blocks: Iterable[Block],
    *,
    tier: Literal["panel", "dense"] = "panel",
    floor: float = 0.05,
    capacity: int = 4096,
) -> dict[str, xr.Dataset]:
    """Return the groups of a store, under the names and dims of its contract (docs/store.md).

    Parameters
    ----------
    outline : Outline
        What is known of the study before it is run.
    blocks : iterable of Block
        Every unit, in order.
    tier : {"panel", "dense"}
        Whether to keep each fact's panel of neurons only, or every neuron.
    floor : float
        Share of a query's maximum from which on a neuron is a candidate of its fact's panel.
    capacity : int
        Largest number of neurons in a panel.

    Returns
    -------
    dict of str to xarray.Dataset
        ``queries``, ``facts``, ``signals`` and ``grams``; ``attention`` and ``statistics`` where there are
        any.
    """
    parts = list(blocks)
    queries = {
        name: ((QUERY, _SECOND_AXIS[name]) if name in _SECOND_AXIS else (QUERY,), _joined(parts, name))
        for name in (parts[0].queries if parts else {})
    }
    candidates = {relation: list(names) for relation, names in outline.candidates.items()}
    facts = {name: (FACT, column) for name, column in outline.facts.items()}
    groups = {
        "queries": xr.Dataset(queries),
        "facts": xr.Dataset(facts, attrs={"candidates": candidates}),
        "signals": _signals(outline, parts, tier, floor, capacity),
        "grams": _grams(outline, parts),
    }
    if outline.sizes[HEAD]:
        groups["attention"] = _attention(parts)
    if (statistics := _statistics(outline, parts)) is not None:
        groups["statistics"] = statistics
    return groups


def _joined(parts: list[Block], name: str) -> Array:
    return np.concatenate([np.asarray(part.queries[name]) for part in parts])


def _signals(outline: Outline, parts: list[Block], tier: str, floor: float, capacity: int) -> xr.Dataset:
    layers = (METHOD, QUERY, LAYER)
    attribution = np.concatenate([part.attribution for part in parts], axis=1)
    activation, gradient = (
        np.concatenate([getattr(part, n) for part in parts]) for n in ("activation", "gradient")
    )
    best = attribution.max(axis=(2, 3), initial=-np.inf).astype(float)
    high = (attribution > 0) & (attribution >= floor * best[:, :, None, None])
    of_paths = {
        name: (layers, np.concatenate([getattr(part, name) for part in parts], axis=1))
        for name in ("completeness_gap", "n_nodes", "error_bound", "converged")
    }
    common: dict[str, tuple[tuple[str, ...], Array]] = {
        "maximum": (layers, attribution.max(axis=3)),
        "total": (layers, attribution.sum(axis=3, dtype=np.float64).astype(np.float32)),
        "count_above_floor": (layers, high.sum(axis=3).astype(np.int32)),
        **of_paths,
    }
    fact = _joined(parts, "fact")
    panel, floors = _panels(_ratios(attribution, best, high), fact, outline.sizes[FACT], floor, capacity)
    common |= {"panel_neuron": ((FACT, SLOT), panel), "panel_floor": ((FACT,), floors)}
    dims: tuple[str, ...] = (LAYER, NEURON)
    if tier == "panel":
        dims, place = (SLOT,), panel[fact]
        attribution = np.stack([_taken(values, place) for values in attribution])
        activation, gradient = _taken(activation, place), _taken(gradient, place)
    values = {
        "attribution": ((METHOD, QUERY, *dims), attribution),
        "activation": ((QUERY, *dims), activation),
        "gradient": ((QUERY, *dims), gradient),
    }
    attrs = {"n_neurons": outline.sizes[NEURON], "floor": floor, "tier": tier}
    coords = {METHOD: list(outline.methods)}
    coords |= {name: (QUERY, _joined(parts, name)) for name in ("relation", "template")}  # type: ignore[misc]
    return xr.Dataset({**values, **common}, coords=coords, attrs=attrs)


def _ratios(attribution: Array, best: Array, high: Array) -> Array:
    """Return attribution / max, 0 below the floor, as the largest over methods: (query, neuron)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(high, attribution / best[:, :, None, None], 0.0)
    flat = ratio.max(axis=0, initial=0.0)
    return np.asarray(flat.reshape(len(flat), int(np.prod(flat.shape[1:]))))


def _panels(ratio: Array, fact: Array, n_facts: int, floor: float, capacity: int) -> tuple[Array, Array]:
    """Choose panel neurons, int32, (fact, slot), ascending and padded with -1; and floors, (fact,)."""
    kept: list[Array] = []
    floors = np.full(n_facts, np.nan)
    for number in range(n_facts):
        best = ratio[fact == number].max(axis=0, initial=0.0)
        candidates = np.flatnonzero(best > 0)
        order = np.lexsort((candidates, -best[candidates]))
        chosen, dropped = candidates[order[:capacity]], candidates[order[capacity:]]
        kept.append(np.sort(chosen))
        if np.any(fact == number):
            floors[number] = max(floor, best[dropped].max(initial=0.0))
    width = max((len(chosen) for chosen in kept), default=0)
    panel = np.full((n_facts, width), NO_INDEX, dtype=np.int32)
    for row, chosen in zip(panel, kept, strict=True):
        row[: len(chosen)] = chosen
    return panel, floors


def _taken(values: Array, place: Array) -> Array:
    """Return the values at each query's panel: (query, slot); NaN in empty slots."""
    flat = np.take_along_axis(
        values.reshape(len(values), int(np.prod(values.shape[1:]))), np.maximum(place, 0), axis=1
    )
    return np.where(place >= 0, flat, np.nan).astype(values.dtype)


def _grams(outline: Outline, parts: list[Block]) -> xr.Dataset:
    dims = (METHOD, FACT, QUERY_OF_FACT, f"{QUERY_OF_FACT}_")
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=1)
        for name in ("gram", "null_gram")
    }
    return xr.Dataset(
        {name: (dims, array) for name, array in arrays.items()}, coords={METHOD: list(outline.methods)}
    )


def _statistics(outline: Outline, parts: list[Block]) -> xr.Dataset | None:
    """Return sums over the queries of each relation for which two or more facts are asked."""
    relations = [
        str(r) for r, n in zip(*(outline.facts[k] for k in ("relation", "n_queries")), strict=True) if n
    ]
    names = [name for name in dict.fromkeys(relations) if relations.count(name) > 1]
    if not names:
        return None
    of_query = _joined(parts, "relation").astype(str)
    activation = np.concatenate([part.activation for part in parts]).astype(np.float64)
    rows = [activation[of_query == name] for name in names]
    sums = {
        "activation_sum": np.stack([values.sum(axis=0) for values in rows]).astype(np.float32),
        "activation_square_sum": np.stack([(values**2).sum(axis=0) for values in rows]).astype(np.float32),
    }
    return xr.Dataset(
        {name: ((RELATION, LAYER, NEURON), array) for name, array in sums.items()}
        | {"n_queries": (RELATION, np.array([len(values) for values in rows], dtype=np.int32))},
        coords={RELATION: names},
    )


def _attention(parts: list[Block]) -> xr.Dataset:
    names: Mapping[str, Any] = parts[0].attention
    dims = (QUERY, LAYER, HEAD, TOKEN)
    joined = {name: np.concatenate([part.attention[name] for part in parts]) for name in names}
    return xr.Dataset({name: (dims[: array.ndim], array) for name, array in joined.items()})
