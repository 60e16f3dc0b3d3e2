"""Streamed sums of activations: for each relation, Σ a and Σ a² over its queries, for every neuron.

The file of a unit carries the sums of the relations in it, in float64. Assembling adds these in the order of
the units, so that the sums are a function of the units alone; they are stored as float32. Only relations that
two or more facts have are summed: the sums serve for means over *other* facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from qloc.arrays import Array
from qloc.block import Block
from qloc.errors import SchemaError, message
from qloc.store.files.npz_mmap import MappedUnit
from qloc.store.names import UNITS
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import Variable
from qloc.store.schema.zarr_arrays import put
from qloc.store.units import ledger
from qloc.vocabulary import LAYER, NEURON

_NUMBER: Final = "statistics/relation_number"
_N: Final = "statistics/n_queries"
_SUMS: Final = ("statistics/activation_sum", "statistics/activation_square_sum")


def unit_sums(block: Block, layout: Layout) -> dict[str, Array]:
    """Return what a unit adds to the sums: members of its file.

    Parameters
    ----------
    block : Block
        The numbers of the unit.
    layout : Layout
        Relations and sizes of the store.

    Returns
    -------
    dict of str to ndarray
        Under ``statistics/``: ``relation_number``, int32, shape (relation of the unit,), index into the
        layout's relations, ascending; ``n_queries``, int32, shape (relation of the unit,);
        ``activation_sum`` and ``activation_square_sum``, float64, shape (relation of the unit, layer,
        neuron). Empty if the store keeps no statistics.
    """
    if not layout.relations:
        return {}
    known = {relation: number for number, relation in enumerate(layout.relations)}
    of_query = np.array([known.get(str(name), -1) for name in block.queries["relation"]], dtype=np.int32)
    number = np.unique(of_query[of_query >= 0])
    shape = (len(number), layout.sizes[LAYER], layout.sizes[NEURON])
    sums, squares = np.zeros(shape), np.zeros(shape)
    for query in np.flatnonzero(of_query >= 0):
        row = np.searchsorted(number, of_query[query])
        values = np.asarray(block.activation[query], dtype=np.float64)
        sums[row] += values
        squares[row] += values * values
    counts = np.array([(of_query == relation).sum() for relation in number], dtype=np.int32)
    return {_NUMBER: number, _N: counts, **dict(zip(_SUMS, (sums, squares), strict=True))}


def put_sums(
    array: zarr.Array[Any], variable: Variable, store: Path, units: Sequence[ledger.UnitRecord]
) -> None:
    """Add up one variable over the units and write it, as many relations at a time as one shard has.

    Parameters
    ----------
    array : zarr.Array, shape (relation, ...)
        The array to fill.
    variable : Variable
        The variable.
    store : Path
        The folder that has the unit files.
    units : sequence of UnitRecord
        The units, in order.
    """
    step = (array.shards or array.chunks)[0]
    rest = tuple(slice(0, size) for size in array.shape[1:])
    for first in range(0, array.shape[0], step):
        last = min(first + step, array.shape[0])
        total = summed(variable, (slice(first, last), *rest), store, units)
        put(array, (slice(first, last),), total.astype(array.dtype))


def summed(
    variable: Variable, region: tuple[slice, ...], store: Path, units: Sequence[ledger.UnitRecord]
) -> NDArray[np.float64]:
    """Add up the cells of one variable in a region over every unit, in order.

    Parameters
    ----------
    variable : Variable
        The variable.
    region : tuple of slice
        The cells: relations first, then one slice for each further axis.
    store : Path
        The folder that has the unit files.
    units : sequence of UnitRecord
        The units, in order.

    Returns
    -------
    float64 ndarray
        The sums, of the region's shape.
    """
    total = np.zeros([cells.stop - cells.start for cells in region])
    for unit in units:
        with ledger.open_unit(store, unit) as opened:
            number, values = _of_relations(opened, variable, total.ndim, store / UNITS / unit.file)
            number = number - region[0].start
            inside = (number >= 0) & (number < len(total))
            if inside.any():
                total[number[inside]] += values[(inside, *region[1:])]
    return total


def _of_relations(
    opened: MappedUnit, variable: Variable, n_axes: int, path: Path
) -> tuple[NDArray[np.int32], Array]:
    """Return the relations of a unit, and the variable's values for them; refuse other shapes and dtypes."""
    try:
        number, values = opened[_NUMBER], opened[variable.path]
    except KeyError as error:
        number, values = np.zeros(0, dtype=np.int32), np.array(str(error))
    if (
        number.dtype != np.int32
        or number.ndim != 1
        or values.dtype != (np.int32 if variable.path == _N else np.float64)
        or values.ndim != n_axes
        or len(values) != len(number)
        or len(np.unique(number)) != len(number)
    ):
        rule, action = "sums of the relations of the unit", "Remove its record from the ledger: it is redone"
        got = f"{values.dtype} {values.shape}"
        raise SchemaError(message(f"array {variable.path}", got, rule, str(path), action))
    return number, values
