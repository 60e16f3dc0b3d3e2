"""From unit files to the finished Zarr hierarchy: one process, each shard written once, the manifest last.

The bytes are a function of the units alone, so that a finalize killed and run again gives the same store.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from qloc.block import Array
from qloc.canonical import canonical
from qloc.errors import StorageError, VerificationError, message
from qloc.store import card, ledger, manifest
from qloc.store.arrays import create, put, settle_metadata
from qloc.store.durable import storing, sync_folder, sync_tree, write_bytes
from qloc.store.layout import Layout
from qloc.store.schema import COORDINATES, SCHEMA_VERSION, Variable

_FILLED: Final = ("queries", "signals", "attention", "grams")


def finalize(
    store: Path, layout: Layout, records: Mapping[int, ledger.UnitRecord], run: Mapping[str, Any]
) -> None:
    """Assemble the arrays of a store whose units are all recorded, and make it complete.

    Parameters
    ----------
    records : every unit's, by number.
    run : goes into the manifest.

    Raises
    ------
    VerificationError : unit files are not those recorded, each named.
    StorageError : the disk refused, or gave back something else.
    """
    units = [records[number] for number in range(len(layout.units))]
    if changed := [unit for unit in units if not ledger.verifies(store, unit)]:
        action = "Run the same command again: the unit is redone"
        what = [
            message("unit file", u.file, f"sha256 {u.sha256}", str(store / ledger.UNITS), action)
            for u in changed
        ]
        raise VerificationError(what)
    with storing(store):
        _clear(store)
        _assemble(store, layout, units)
        consolidate(store)
        for name in ("facts", *_FILLED):
            if (store / name).is_dir():
                sync_tree(store / name)
        card.write(store, layout)
        sync_folder(store)
        notes = {str(unit.number): dict(unit.notes) for unit in units if unit.notes}
        working = (ledger.UNITS, ledger.LEDGER)
        manifest.write(store, schema_version=SCHEMA_VERSION, run=run, notes=notes, leave_out=working)
        remove_working(store)


def remove_working(store: Path) -> None:
    """Remove unit files and ledger of a complete store: the manifest now says what counts."""
    for name in (ledger.UNITS, ledger.LEDGER):
        if (store / name).exists():
            shutil.rmtree(store / name)
    sync_folder(store)


def _clear(store: Path) -> None:
    for name in _FILLED:
        if (store / name).exists():
            shutil.rmtree(store / name)
    for path in store.glob("*.partial"):
        path.unlink()


def _assemble(store: Path, layout: Layout, units: list[ledger.UnitRecord]) -> None:
    root = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    n_slots = max((unit.n_slots for unit in units), default=0)
    groups = {
        name: root.create_group(name, attributes=_group_attributes(name, layout))
        for name in dict.fromkeys(variable.group for variable in layout.variables())
    }
    for variable in layout.variables():
        array = create(
            groups[variable.group], variable, layout.dtype(variable), layout.shape(variable, n_slots)
        )
        if variable.row is None:
            put(array, (slice(None),), np.array(layout.methods, dtype=object))
        else:
            _fill(store, array, variable, units)


def _group_attributes(name: str, layout: Layout) -> dict[str, Any]:
    coordinates = {"coordinates": " ".join(COORDINATES[name])} if name in COORDINATES else {}
    return coordinates | (layout.signals_attrs() if name == "signals" else {})


def _fill(store: Path, array: zarr.Array[Any], variable: Variable, units: list[ledger.UnitRecord]) -> None:
    axis = variable.row or 0
    step = (array.shards or array.chunks)[axis]
    n_rows = array.shape[axis]
    rows = _Rows(array, axis, step)
    for unit in units:
        with ledger.open_unit(store, unit) as opened:
            rows.add(ledger.member(opened, variable))
    rows.flush()
    if rows.first != n_rows:
        raise StorageError(
            message(
                f"rows of {variable.path}",
                rows.first,
                str(n_rows),
                str(store),
                "Extract again into another --out",
            )
        )


class _Rows:
    """Collects rows until they fill a shard, then writes it: the only write that the shard gets."""

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
    """Consolidated metadata in the root, in an order of keys that does not depend on the file system."""
    settle_metadata(store)
    with warnings.catch_warnings():
        # Not in the Zarr v3 specification yet: other readers ignore it, and no reader warns.
        warnings.filterwarnings("ignore", category=zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store, zarr_format=3)
    root = store / "zarr.json"
    write_bytes(root, canonical(json.loads(root.read_bytes())))
