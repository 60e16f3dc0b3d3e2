"""Rebuild one object of an array: from cells of unit files to the bytes of a shard."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import zarr

from qloc.arrays import Array
from qloc.block import Unit
from qloc.errors import VerificationError, message
from qloc.store.integrity.object_contents import Region
from qloc.store.names import ROOT, piece_of
from qloc.store.schema.variables import Variable
from qloc.store.schema.zarr_arrays import array_at, put, reading, stored, whole_writes
from qloc.store.units import ledger
from qloc.vocabulary import FACT


def write_object(store: Path, aside: Path, name: str, region: Region, values: Array) -> Path:
    """Write the cells of one object to a file outside the store, with the codecs of its array.

    Parameters
    ----------
    store : Path
        The store, for the metadata of the array.
    aside : Path
        Folder to write into.
    name : str
        The object, such as ``signals/attribution/c/0/3/0``.
    region : tuple of slice
        The cells that the object holds, and no others.
    values : ndarray, shape of the region
        The values of the cells.

    Returns
    -------
    Path
        The file; it does not exist where all cells are missing values, since zarr writes no such chunk.

    Raises
    ------
    StorageError
        If the values that were read back are not those written.
    """
    array, _ = piece_of(name)
    folder = aside / array
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(store / array / ROOT, folder / ROOT)
    with whole_writes():
        put(zarr.open_array(folder, mode="r+", zarr_format=3), region, values)
    return aside / name


def cells_of_units(
    store: Path,
    aside: Path,
    variable: Variable,
    region: Region,
    units: Mapping[Unit, ledger.UnitRecord],
    *,
    keep: bool,
) -> Array | None:
    """Return the cells of an object from unit files, and its other cells from the store.

    Parameters
    ----------
    store : Path
        The store.
    aside : Path
        The folder that has the unit files.
    variable : Variable
        The array of the object.
    region : tuple of slice
        The cells that the object holds.
    units : Mapping of Unit to UnitRecord
        The units with rows in the region that were extracted again.
    keep : bool
        Whether the store's own cells are sound. If not, cells that no unit fills are missing values.

    Returns
    -------
    ndarray, shape of the region, or None
        None where a unit's file does not have the variable.
    """
    with reading(f"array {variable.path}", str(store)):
        array = array_at(store / variable.path)
    dtype = object if array.dtype.kind == "T" else array.dtype
    shape = [piece.stop - piece.start for piece in region]
    cells = stored(store / variable.path, region) if keep else np.full(shape, array.fill_value, dtype=dtype)
    axis = variable.row or 0
    for unit, record in units.items():
        of_facts = variable.dims[axis] == FACT
        first = unit.first_fact if of_facts else unit.first_query
        with ledger.open_unit(aside, record) as opened:
            if variable.path not in opened:
                return None
            values = ledger.member(opened, variable)
        source, target = _overlap(region, axis, first, values.shape)
        if keep:
            cells[_rows(target, axis)] = array.fill_value
        cells[target] = values[source]
    return cells


def require_slots(store: Path, records: Iterable[ledger.UnitRecord]) -> None:
    """Refuse units whose panels are larger than the largest of the store.

    Parameters
    ----------
    store : Path
        The store.
    records : iterable of UnitRecord
        The units that were extracted again.

    Raises
    ------
    VerificationError
        If panels are larger; names each unit.
    """
    with reading("array panel_neuron", str(store)):
        most = int(array_at(store / "signals" / "panel_neuron").shape[-1])
    action = "Repair where it was made (the manifest's run says on what), or extract again"
    larger = [record for record in records if record.n_slots > most]
    if larger:
        raise VerificationError(
            message(f"panel of unit {unit.number}", unit.n_slots, f"at most {most} slots", str(store), action)
            for unit in larger
        )


def _rows(target: Region, axis: int) -> Region:
    """Return the region with all cells of its rows."""
    return tuple(cells if d == axis else slice(None) for d, cells in enumerate(target))


def _overlap(region: Region, axis: int, first: int, shape: tuple[int, ...]) -> tuple[Region, Region]:
    """Return where a unit's cells and a region overlap: as cells of the unit, and as cells of the region."""
    source, target = [], []
    for d, (cells, size) in enumerate(zip(region, shape, strict=True)):
        at = first if d == axis else 0
        low, high = max(cells.start, at), max(min(cells.stop, at + size), max(cells.start, at))
        source.append(slice(low - at, high - at))
        target.append(slice(low - cells.start, high - cells.start))
    return tuple(source), tuple(target)
