"""Panels: for each fact, every neuron that reaches the floor for any of its queries under any method.

For the whole panel the values of *all* of the fact's queries and methods are kept, so that any neuron set
at a threshold at or above the floor is exact (docs/methods.md#neuron-sets, docs/store.md#the-panel).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Array
from qloc.block import Block
from qloc.errors import InputError, ModelError, message
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import ERROR_BOUNDS, STORED, Variable, as_stored
from qloc.vocabulary import LAYER, NEURON, NO_INDEX


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The panels of a unit's facts, and the numbers that are kept of the whole network.

    Attributes
    ----------
    neuron : int32 ndarray, shape (fact, slot)
        Neurons of each panel, ascending, then -1. As many slots as the largest panel of the unit has.
    floor : float64 ndarray, shape (fact,)
        Sets at thresholds t ≥ floor are exact. NaN for a fact without queries.
    maximum : ndarray of the stored dtype, shape (attribution_method, query, layer)
        Largest attribution in the layer.
    total : ndarray of the stored dtype, shape (attribution_method, query, layer)
        Sum of the attributions in the layer, added up in float64.
    count_above_floor : int32 ndarray, shape (attribution_method, query, layer)
        Number of neurons of the layer with attribution > 0 and ≥ floor · maximum over the network.
    """

    neuron: NDArray[np.int32]
    floor: NDArray[np.float64]
    maximum: Array
    total: Array
    count_above_floor: NDArray[np.int32]


def bars(maximum: Array, floor: float) -> Array:
    """Return the least value of the array's dtype that is > 0 and, in float64, ≥ floor · maximum.

    Comparing stored values with it gives the same answer as comparing in float64, without a copy of the
    network in float64.

    Parameters
    ----------
    maximum : float ndarray, any shape
        Largest attributions; where one is ≤ 0 the bar is infinite, so that nothing passes.
    floor : float
        Share of the maximum, in [0, 1).

    Returns
    -------
    ndarray
        The bars, of the same shape and dtype.

    Examples
    --------
    >>> bars(np.array([1.0, 0.0, -2.0]), 0.05)
    array([0.05,  inf,  inf])
    """
    exact = floor * maximum.astype(np.float64)
    bar = exact.astype(maximum.dtype)
    bar = np.where(bar.astype(np.float64) < exact, np.nextafter(bar, maximum.dtype.type(np.inf)), bar)
    bar = np.maximum(bar, np.finfo(maximum.dtype).smallest_subnormal)
    passable: Array = np.where(maximum > 0, bar, maximum.dtype.type(np.inf))
    return passable


def panel(attribution: Array, fact: NDArray[np.integer], n_facts: int, floor: float, capacity: int) -> Panel:
    """Choose the panels of a unit.

    Parameters
    ----------
    attribution : float ndarray, shape (attribution_method, query, layer, neuron)
        Attributions in the stored dtype, finite.
    fact : int ndarray, shape (query,)
        Which of the unit's facts each query belongs to, ascending.
    n_facts : int
        Number of facts in the unit.
    floor : float
        Smallest share of a query's maximum that puts a neuron into the panel, in [0, 1).
    capacity : int
        Largest panel. A fact that overflows keeps the neurons with the largest attribution / maximum over
        methods and queries (ties go to the smaller number); its floor is then the largest ratio dropped.

    Returns
    -------
    Panel
        The panels.

    Examples
    --------
    >>> scores = np.array([1.0, 0.04, 0.3, -1.0]).reshape(1, 1, 2, 2)
    >>> panel(scores, np.array([0]), 1, floor=0.05, capacity=8).neuron
    array([[0, 2]], dtype=int32)
    """
    maximum = attribution.max(axis=-1)
    whole = maximum.max(axis=-1)
    above = attribution >= bars(whole, floor)[..., None, None]
    ends = np.searchsorted(fact, np.arange(n_facts + 1))
    chosen, floors = [], np.full(n_facts, np.nan)
    flat, flat_above = _flat(attribution), _flat(above)
    for row, (first, last) in enumerate(pairwise(ends)):
        neurons = np.flatnonzero(flat_above[:, first:last].any(axis=(0, 1)))
        if last > first:
            floors[row] = floor
        if len(neurons) > capacity:
            values = flat[:, first:last][..., neurons].reshape(-1, len(neurons))
            kept, floors[row] = _strongest(values, whole[:, first:last].reshape(-1), floor, capacity)
            neurons = neurons[kept]
        chosen.append(neurons)
    return Panel(
        neuron=_side_by_side(chosen),
        floor=floors,
        maximum=maximum,
        total=attribution.sum(axis=-1, dtype=np.float64).astype(attribution.dtype),
        count_above_floor=np.count_nonzero(above, axis=-1).astype(np.int32),
    )


def _side_by_side(chosen: list[NDArray[np.intp]]) -> NDArray[np.int32]:
    neuron = np.full((len(chosen), max(map(len, chosen), default=0)), NO_INDEX, dtype=np.int32)
    for row, neurons in enumerate(chosen):
        neuron[row, : len(neurons)] = neurons
    return neuron


def _strongest(values: Array, maximum: Array, floor: float, capacity: int) -> tuple[NDArray[np.intp], float]:
    """Return columns to keep, ascending, and the effective floor: no dropped value is > floor · maximum."""
    positive = maximum > 0
    values, maximum = values[positive].astype(np.float64), maximum[positive].astype(np.float64)[:, None]
    ratio = (values / maximum).max(axis=0)
    order = np.argsort(-ratio, kind="stable")
    dropped = values[:, order[capacity:]]
    floor = max(floor, float(ratio[order[capacity]]))
    while (dropped > floor * maximum).any():  # the quotient was rounded down
        floor = float(np.nextafter(floor, np.inf))
    return np.sort(order[:capacity]), floor


def on_panel(values: Array, neuron: NDArray[np.int32], fact: NDArray[np.integer]) -> Array:
    """Return the values at each query's panel, NaN in empty slots.

    Parameters
    ----------
    values : float ndarray, shape (..., query, layer, neuron)
        Values of the whole network.
    neuron : int32 ndarray, shape (fact, slot)
        Panels, as :attr:`Panel.neuron`.
    fact : int ndarray, shape (query,)
        Row of ``neuron`` for each query.

    Returns
    -------
    float ndarray, shape (..., query, slot)
        The values.
    """
    flat = _flat(values)
    slots = np.broadcast_to(neuron[fact], (*flat.shape[:-1], neuron.shape[1]))
    taken = np.take_along_axis(flat, np.maximum(slots, 0), axis=-1)
    return np.where(slots >= 0, taken, values.dtype.type(np.nan))


def _flat(values: Array) -> Array:
    """Put layers end to end: (..., layer, neuron) becomes (..., neuron of the network)."""
    return values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])


def unit_arrays(block: Block, layout: Layout) -> dict[str, Array]:
    """Return every array that a unit puts into the store, under the paths and dtypes of the schema.

    Parameters
    ----------
    block : Block
        The numbers of the unit.
    layout : Layout
        Tier, sizes and units of the store.

    Returns
    -------
    dict of str to ndarray
        Arrays by variable path.

    Raises
    ------
    InputError
        Columns are missing or unknown, or have another shape than the layout says; every problem.
    ModelError
        An attribution is not finite; the message names the first query.
    """
    arrays = _of_block(block, layout)
    expected = [v for v in layout.variables() if v.row is not None]
    _check(block, layout, arrays)
    attribution = np.ascontiguousarray(block.attribution, dtype=layout.store_dtype)
    _check_finite(attribution, block, layout)
    fact = np.asarray(block.queries["fact"]) - block.unit.first_fact
    chosen = panel(attribution, fact, block.unit.n_facts, layout.floor, layout.capacity)
    values = arrays | {
        "signals/attribution": attribution,
        "signals/panel_neuron": chosen.neuron,
        "signals/panel_floor": chosen.floor,
        "signals/maximum": chosen.maximum,
        "signals/total": chosen.total,
        "signals/count_above_floor": chosen.count_above_floor,
        **{f"signals/{name}": arrays[f"queries/{name}"] for name in ("fact", "relation", "template")},
    }
    if layout.tier == "panel":
        for name in ("attribution", "activation", "gradient"):
            values[f"signals/{name}"] = on_panel(np.asarray(values[f"signals/{name}"]), chosen.neuron, fact)
    return {v.path: as_stored(values[v.path], layout.dtype(v)) for v in expected}


def _of_block(block: Block, layout: Layout) -> dict[str, Array]:
    bounds = ERROR_BOUNDS if layout.error_bounds else ()
    return {
        **{f"queries/{name}": column for name, column in block.queries.items()},
        **{f"attention/{name}": column for name, column in block.attention.items()},
        **{f"signals/{name}": getattr(block, name) for name in ("attribution", "activation", "gradient")},
        "signals/completeness_gap": block.completeness_gap,
        **{f"signals/{name}": getattr(block, name) for name in bounds},
        "grams/gram": block.gram,
        "grams/null_gram": block.null_gram,
    }


_COMPUTED_HERE = (
    "panel_neuron",
    "panel_floor",
    "maximum",
    "total",
    "count_above_floor",
    "fact",
    "relation",
    "template",
)


def _check(block: Block, layout: Layout, arrays: dict[str, Array]) -> None:
    unit, where = block.unit, f"the block of unit {block.unit.number}"
    problems = []
    if not 0 <= unit.number < len(layout.units) or layout.units[unit.number] != unit:
        problems.append(
            message("unit", unit, "a unit of the outline", where, "Cut units once, in the outline")
        )
    wanted = {v.path: _shape(layout, v, block) for v in layout.variables() if v.row is not None}
    for path in [
        path for path in wanted if path.startswith("signals/") and path.split("/")[1] in _COMPUTED_HERE
    ]:
        del wanted[path]
    for path in sorted({*wanted, *arrays}):
        got = np.shape(arrays[path]) if path in arrays else None
        if got != wanted.get(path):
            expected = f"shape {wanted[path]}" if path in wanted else "no such array"
            problems.append(
                message(f"shape of {path}", got, expected, where, "Make blocks as qloc.block says")
            )
    fact = np.asarray(arrays.get("queries/fact", ()))
    if len(fact) and not (
        fact[0] >= unit.first_fact and fact[-1] < unit.last_fact and (np.diff(fact) >= 0).all()
    ):
        rule = f"ascending, from {unit.first_fact} to {unit.last_fact - 1}"
        problems.append(
            message("queries/fact", fact.tolist(), rule, where, "Keep queries in their facts' order")
        )
    if problems:
        raise InputError(problems)


def _shape(layout: Layout, variable: Variable, block: Block) -> tuple[int, ...]:
    if variable.dtype == STORED and variable.name in ("attribution", "activation", "gradient"):
        network = (block.unit.n_queries, layout.sizes[LAYER], layout.sizes[NEURON])
        return (len(layout.methods), *network) if variable.name == "attribution" else network
    return layout.shape(variable, 0, block.unit)


def _check_finite(attribution: Array, block: Block, layout: Layout) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        bad = np.argwhere(~np.isfinite(attribution.sum(axis=(-2, -1), dtype=np.float64)))
    if not len(bad):
        return
    method, query = bad[0]
    values = attribution[method, query]
    worst = float(values[~np.isfinite(values)][0])
    what = f"attribution of query {block.unit.first_query + query} by {layout.methods[method]!r}"
    where = (
        f"unit {block.unit.number}, prompt {str(block.queries['prompt'][query])!r} (and {len(bad) - 1} more)"
    )
    raise ModelError(message(what, worst, "finite numbers", where, "Extract with --dtype float32 or float64"))
