"""A fact's panel: every neuron that any of its queries ranks at the floor or above, under any method.

For the whole panel the values of *all* of the fact's queries and methods are kept, so that whatever is asked
at a threshold at or above the floor is exact (methods.md §4, store.md "Tiers").
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
from qloc.store.schema.variables import STORED, Variable, typed
from qloc.vocabulary import LAYER, NEURON, NO_INDEX


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The panels of a unit's facts, and what is kept of the whole network.

    Attributes
    ----------
    neuron : int32, (fact, slot); ascending, then -1. As many slots as the unit's largest panel has.
    floor : float64, (fact,); thresholds t ≥ floor are exact. NaN where a fact has no query.
    maximum, total : of the stored dtype, (attribution_method, query, layer); total is summed in float64.
    count_above_floor : int32, (attribution_method, query, layer)
    """

    neuron: NDArray[np.int32]
    floor: NDArray[np.float64]
    maximum: Array
    total: Array
    count_above_floor: NDArray[np.int32]


def bars(maximum: Array, floor: float) -> Array:
    """The least value of the array's dtype that is > 0 and, in float64, ≥ floor · maximum.

    Comparing stored values with it is comparing in float64, without a copy of the network in float64.

    Parameters
    ----------
    maximum : float, any shape; where it is ≤ 0 the bar is infinite, so that nothing passes.

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
    attribution : float32 or float64 as stored, (attribution_method, query, layer, neuron), finite.
    fact : int, (query,), ascending: which of the unit's facts a query belongs to.
    capacity : largest panel; a fact that overflows keeps the neurons with the largest attribution / maximum
        over methods and queries (ties go to the smaller number); its floor is the largest ratio dropped.

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
    """Columns to keep, ascending, and the effective floor: no dropped value is > floor · maximum."""
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
    """The values at each query's panel, NaN in empty slots.

    Parameters
    ----------
    values : float, (..., query, layer, neuron)
    neuron : int32, (fact, slot)
    fact : int, (query,), row of ``neuron``

    Returns
    -------
    float, (..., query, slot)
    """
    flat = _flat(values)
    slots = np.broadcast_to(neuron[fact], (*flat.shape[:-1], neuron.shape[1]))
    taken = np.take_along_axis(flat, np.maximum(slots, 0), axis=-1)
    return np.where(slots >= 0, taken, values.dtype.type(np.nan))


def _flat(values: Array) -> Array:
    """Layers end to end: (..., layer, neuron) as (..., neuron of the network)."""
    return values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])


def unit_arrays(block: Block, layout: Layout) -> dict[str, Array]:
    """Everything that a unit puts into the store, under the paths and dtypes of the schema.

    Raises
    ------
    InputError : columns are missing or unknown, or have another shape than the layout says; all of them.
    ModelError : an attribution is not finite; names the first query.
    """
    given = _given(block)
    expected = [v for v in layout.variables() if v.row is not None]
    _check(block, layout, given)
    attribution = np.ascontiguousarray(block.attribution, dtype=layout.store_dtype)
    _check_finite(attribution, block, layout)
    fact = np.asarray(block.queries["fact"]) - block.unit.first_fact
    chosen = panel(attribution, fact, block.unit.n_facts, layout.floor, layout.capacity)
    made = given | {
        "signals/attribution": attribution,
        "signals/panel_neuron": chosen.neuron,
        "signals/panel_floor": chosen.floor,
        "signals/maximum": chosen.maximum,
        "signals/total": chosen.total,
        "signals/count_above_floor": chosen.count_above_floor,
        **{f"signals/{name}": given[f"queries/{name}"] for name in ("fact", "relation", "template")},
    }
    if layout.tier == "panel":
        for name in ("attribution", "activation", "gradient"):
            made[f"signals/{name}"] = on_panel(np.asarray(made[f"signals/{name}"]), chosen.neuron, fact)
    return {v.path: typed(made[v.path], layout.dtype(v)) for v in expected}


def _given(block: Block) -> dict[str, Array]:
    return {
        **{f"queries/{name}": column for name, column in block.queries.items()},
        **{f"attention/{name}": column for name, column in block.attention.items()},
        **{f"signals/{name}": getattr(block, name) for name in ("attribution", "activation", "gradient")},
        "signals/completeness_gap": block.completeness_gap,
        "grams/gram": block.gram,
        "grams/null_gram": block.null_gram,
    }


_MADE_HERE = (
    "panel_neuron",
    "panel_floor",
    "maximum",
    "total",
    "count_above_floor",
    "fact",
    "relation",
    "template",
)


def _check(block: Block, layout: Layout, given: dict[str, Array]) -> None:
    unit, where = block.unit, f"the block of unit {block.unit.number}"
    problems = []
    if not 0 <= unit.number < len(layout.units) or layout.units[unit.number] != unit:
        problems.append(
            message("unit", unit, "a unit of the outline", where, "Cut units once, in the outline")
        )
    wanted = {v.path: _shape(layout, v, block) for v in layout.variables() if v.row is not None}
    for path in [path for path in wanted if path.startswith("signals/") and path.split("/")[1] in _MADE_HERE]:
        del wanted[path]
    for path in sorted({*wanted, *given}):
        got = np.shape(given[path]) if path in given else None
        if got != wanted.get(path):
            expected = f"shape {wanted[path]}" if path in wanted else "no such array"
            problems.append(
                message(f"shape of {path}", got, expected, where, "Make blocks as qloc.block says")
            )
    fact = np.asarray(given.get("queries/fact", ()))
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
