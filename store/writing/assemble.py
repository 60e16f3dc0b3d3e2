"""Assemble Zarr arrays from unit files, in one process: each shard is written once, in order.

The bytes depend on the units alone, so that assembling again gives the same arrays.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from qloc.arrays import Array
from qloc.canonical_json import canonical
from qloc.errors import StorageError, VerificationError, message
from qloc.store.files.durable import write_bytes
from qloc.store.names import UNITS
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_variables import PHASE_COORDINATES
from qloc.store.schema.variables import COORDINATES, Variable
from qloc.store.schema.zarr_arrays import create, put, settle_metadata
from qloc.store.units import ledger
from qloc.store.units.activation_sums import put_sums
from qloc.store.units.neuron_tokens import TOKENS, gathered
from qloc.store.units.unit_schema import most_slots, unit_array

_GROUP_COORDINATES = {**COORDINATES, **PHASE_COORDINATES}


def verified(
    folder: Path, layout: Layout, records: Mapping[int, ledger.UnitRecord]
) -> list[ledger.UnitRecord]:
    """Compare every unit file with its record, and return the records in order.

    Parameters
    ----------
    folder : Path
        The folder that has the folders ``units`` and ``ledger``.
    layout : Layout
        The layout of the store.
    records : Mapping of int to UnitRecord
        The record of every unit, by number.

    Returns
    -------
    list of UnitRecord
        The records of all units, in order.

    Raises
    ------
    VerificationError
        If unit files are not those that were recorded; names each.
    """
    units = [records[number] for number in range(len(layout.units))]
    if changed := [unit for unit in units if not ledger.verifies(folder, unit)]:
        action, where = "Run the same command again: the unit is redone", str(folder / UNITS)
        raise VerificationError(
            message("unit file", unit.file, f"sha256 {unit.sha256}", where, action) for unit in changed
        )
    return units


def assemble(
    target: Path,
    folder: Path,
    layout: Layout,
    variables: Sequence[Variable],
    units: Sequence[ledger.UnitRecord],
    *,
    attributes: Mapping[str, Mapping[str, Any]],
    copied: Mapping[str, Array],
) -> None:
    """Write the groups of some variables into the hierarchy at ``target``.

    Parameters
    ----------
    target : Path
        A Zarr hierarchy that exists, without these groups.
    folder : Path
        The folder that has the unit files.
    layout : Layout
        The layout of the store.
    variables : sequence of Variable
        The arrays to write, with all variables of a group.
    units : sequence of UnitRecord
        The record of every unit, in order.
    attributes : Mapping of str to Mapping
        Attributes of the groups by name, besides their coordinates.
    copied : Mapping of str to ndarray
        Whole arrays that are in no unit file, by path.
    """
    root = zarr.open_group(target, mode="r+", zarr_format=3, use_consolidated=False)
    n_slots = most_slots(folder, units, layout)
    groups = {
        name: root.create_group(name, attributes={**_coordinates(name), **attributes.get(name, {})})
        for name in dict.fromkeys(variable.group for variable in variables)
    }
    for variable in variables:
        shape = layout.shape(variable, n_slots)
        array = create(groups[variable.group], variable, layout.dtype(variable), shape)
        labels = layout.labels(variable)
        if labels is not None:
            put(array, (slice(None),), np.array([*labels, None], dtype=object)[:-1])
        elif variable.path in copied:
            put(array, (slice(None),), copied[variable.path])
        elif variable.group == TOKENS:
            put(array, (slice(None),), gathered(variable, folder, layout, units))
        elif variable.row is None:
            put_sums(array, variable, folder, units)
        else:
            _fill(folder, array, variable, layout, units)


def _coordinates(name: str) -> dict[str, Any]:
    coordinates = _GROUP_COORDINATES.get(name)
    return {"coordinates": " ".join(coordinates)} if coordinates else {}


def _fill(
    store: Path,
    array: zarr.Array[Any],
    variable: Variable,
    layout: Layout,
    units: Sequence[ledger.UnitRecord],
) -> None:
    axis = variable.row or 0
    step = (array.shards or array.chunks)[axis]
    n_rows = array.shape[axis]
    rows = _Rows(array, axis, step)
    n_added = 0
    for record in units:
        values = unit_array(store, record, variable, layout, layout.units[record.number])
        n_added += values.shape[axis]
        if n_added <= n_rows:
            rows.add(values)
    if n_added != n_rows:
        action = "Extract again into another --out"
        raise StorageError(message(f"rows of {variable.path}", n_added, str(n_rows), str(store), action))
    rows.flush()


class _Rows:
    """Collect rows until they fill a shard, then write it: the only write that the shard gets."""

    def __init__(self, array: zarr.Array[Any], axis: int, step: int) -> None:
        self.array, self.axis, self.step = array, axis, step
        self.first = 0
        self._empty()

    def _empty(self) -> None:
        shape = list(self.array.shape)
        shape[self.axis] = min(self.step, shape[self.axis] - self.first)
        dtype = object if self.array.dtype.kind == "T" else self.array.dtype
        self.buffer = np.full(shape, self.array.fill_value, dtype=dtype)
        self.count = 0

    def add(self, values: Array) -> None:
        taken = 0
        while taken < values.shape[self.axis]:
            n = min(values.shape[self.axis] - taken, self.buffer.shape[self.axis] - self.count)
            piece = values[(slice(None),) * self.axis + (slice(taken, taken + n),)]
            target = [slice(size) for size in piece.shape]
            target[self.axis] = slice(self.count, self.count + n)
            self.buffer[tuple(target)] = piece
            taken, self.count = taken + n, self.count + n
            if self.count == self.buffer.shape[self.axis]:
                self.flush()

    def flush(self) -> None:
        if self.count:
            region = (slice(None),) * self.axis + (slice(self.first, self.first + self.count),)
            put(self.array, region, self.buffer)
            self.first += self.count
            self._empty()


def consolidate(store: Path) -> None:
    """Write consolidated metadata into the root, with keys in an order that no file system influences.

    Parameters
    ----------
    store : Path
        The hierarchy; all metadata files below the root become canonical JSON.
    """
    settle_metadata(store)
    with warnings.catch_warnings():
        # Not in the Zarr v3 specification yet: other readers ignore it, and no reader warns.
        warnings.filterwarnings("ignore", category=zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store, zarr_format=3)
    root = store / "zarr.json"
    write_bytes(root, canonical(json.loads(root.read_bytes())))
