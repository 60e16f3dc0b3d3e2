"""Read an unfinished store as Datasets: its verified units form a smaller study that is consistent in itself.

The query axis has the queries of these units only. The fact axis has all facts; those of missing units have
no queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from qloc.arrays import Array
from qloc.block import Unit
from qloc.errors import InputError, message
from qloc.store.names import MANIFEST
from qloc.store.reading.row_consistency import require_rows
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_variables import OF_ALL_UNITS
from qloc.store.schema.variables import COORDINATES, STRING, Variable, missing
from qloc.store.units import ledger
from qloc.store.units.unit_schema import most_slots, unit_array
from qloc.vocabulary import FACT, NO_INDEX

UnitPart = tuple[Unit, ledger.UnitRecord | None]
"""A unit and its record; None where it is missing."""


def unfinished_groups(
    path: Path, layout: Layout, facts: xr.Dataset
) -> tuple[dict[str, xr.Dataset], tuple[Unit, ...]]:
    """Return the Datasets of an unfinished store, read when computed, and the missing units.

    Parameters
    ----------
    path : Path
        The folder of the store.
    layout : Layout
        The layout of the store as planned.
    facts : xarray.Dataset
        The group /facts as planned.

    Returns
    -------
    groups : dict of str to xarray.Dataset
        One Dataset for each group except those that all units are gathered in.
    absent : tuple of Unit
        The units that are not stored, or whose file does not verify.
    """
    recorded = {record.number: record for record in ledger.records(path)}
    parts = [(unit, recorded.get(unit.number)) for unit in layout.units]
    absent = tuple(unit for unit, record in parts if record is None)
    require_rows(layout, facts, str(path))
    n_slots = most_slots(path, recorded.values(), layout)
    datasets = {"facts": _facts_so_far(facts, absent)}
    for variable in layout.variables():
        if variable.group in OF_ALL_UNITS:
            continue
        dataset = datasets.setdefault(variable.group, xr.Dataset())
        lazy = _variable(path, layout, variable, parts, n_slots)
        datasets[variable.group] = dataset.assign({variable.name: lazy})
    for name, coordinates in COORDINATES.items():
        datasets[name] = datasets[name].set_coords(coordinates)
    datasets["signals"] = datasets["signals"].assign_attrs(layout.signals_attrs())
    return datasets, absent


def _facts_so_far(facts: xr.Dataset, absent: tuple[Unit, ...]) -> xr.Dataset:
    """Set the queries of facts of missing units to none, and count those of the others anew."""
    n_queries = facts["n_queries"].to_numpy().copy()
    for unit in absent:
        n_queries[unit.first_fact : unit.last_fact] = 0
    first = np.where(n_queries > 0, np.cumsum(n_queries) - n_queries, NO_INDEX).astype(np.int32)
    return facts.assign(n_queries=(FACT, n_queries), first_query=(FACT, first))


def _variable(
    path: Path, layout: Layout, variable: Variable, parts: Sequence[UnitPart], n_slots: int
) -> xr.Variable:
    if variable.row is None:
        return xr.Variable(variable.dims, np.array(layout.methods, dtype=object))
    if FACT not in variable.dims:
        parts = [(unit, record) for unit, record in parts if record is not None]
    array = UnitsArray(path, layout, variable, parts, n_slots)
    lazy = xr.Variable(variable.dims, indexing.LazilyIndexedArray(array))
    return lazy.chunk({variable.dims[variable.row]: array.rows}) if array.rows else lazy


class UnitsArray(BackendArray):
    """One variable over all unit files, joined along its row axis.

    Reads only the units that a selection touches.

    Parameters
    ----------
    path : Path
        The folder of the store.
    layout : Layout
        The layout of the store.
    variable : Variable
        The variable to read; it has a row axis.
    parts : sequence of UnitPart
        The units to join, in order, with their records. The rows of a unit without a record are missing
        values.
    n_slots : int
        Length of the slot axis: that of the largest panel. Smaller panels are filled up with missing
        values.

    Attributes
    ----------
    rows : tuple of int
        Number of rows of each unit.
    """

    def __init__(
        self, path: Path, layout: Layout, variable: Variable, parts: Sequence[UnitPart], n_slots: int
    ) -> None:
        self.path, self.layout, self.variable, self.parts = path, layout, variable, tuple(parts)
        self.axis = variable.row or 0
        self.shapes = [layout.shape(variable, n_slots, unit) for unit, _ in parts]
        self.rows = tuple(shape[self.axis] for shape in self.shapes)
        shape = list(layout.shape(variable, n_slots))
        shape[self.axis] = sum(self.rows)
        self.shape = tuple(shape)
        dtype = layout.dtype(variable)
        self.fill = missing(dtype)
        self.dtype = np.dtype(object if dtype == STRING else dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> Array:
        rows = np.arange(self.shape[self.axis])[key[self.axis]]
        wanted = np.atleast_1d(rows)
        first, last = (int(wanted.min()), int(wanted.max()) + 1) if wanted.size else (0, 0)
        block = np.concatenate(list(self._pieces(first, last)), axis=self.axis)
        rest = list(key)
        rest[self.axis] = 0 if np.ndim(rows) == 0 else slice(None)
        values: Array = block.take(wanted - first, axis=self.axis)[tuple(rest)]
        return values

    def _pieces(self, first: int, last: int) -> Iterator[Array]:
        yield np.empty([0 if d == self.axis else n for d, n in enumerate(self.shape)], dtype=self.dtype)
        start = 0
        for (unit, record), shape in zip(self.parts, self.shapes, strict=True):
            stop = start + shape[self.axis]
            if start < last and stop > first:
                inside = slice(max(first - start, 0), last - start)
                yield self._unit(unit, record, shape)[(slice(None),) * self.axis + (inside,)]
            start = stop

    def _unit(self, unit: Unit, record: ledger.UnitRecord | None, shape: tuple[int, ...]) -> Array:
        padded = np.full(shape, self.fill, dtype=self.dtype)
        if record is not None:
            try:
                values = unit_array(self.path, record, self.variable, self.layout, unit)
            except FileNotFoundError:
                raise self._gone(record) from None
            padded[tuple(map(slice, values.shape))] = values
        return padded

    def _gone(self, record: ledger.UnitRecord) -> InputError:
        """Say why a unit that was there when the store was opened is there no more."""
        if (self.path / MANIFEST).exists():
            got, rule = "completed meanwhile", "as unfinished as it was when it was opened"
        else:
            got, rule = f"without {record.file}", "with the units that it had when it was opened"
        return InputError(message("store", got, rule, str(self.path), "Open it again"))
