"""One object of an array rebuilt: cells from unit files in, the bytes of a shard out."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from qloc.arrays import Array
from qloc.block import Unit
from qloc.errors import VerificationError, message
from qloc.store.integrity.object_contents import Region
from qloc.store.names import ROOT
from qloc.store.schema.variables import Variable
from qloc.store.schema.zarr_arrays import put, stored, whole_writes
from qloc.store.units import ledger
from qloc.vocabulary import FACT


def write_object(store: Path, aside: Path, name: str, region: Region, values: Array) -> Path:
    """Write the cells that an object holds, with the codecs of its array, to a file aside.

    Parameters
    ----------
    name : the object, such as ``signals/attribution/c/0/3/0``.
    region : the cells that it holds, and no others.

    Raises
    ------
    StorageError : what was read back is not what was written.
    """
    array = name.partition("/c/")[0]
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
    """The cells of an object that come from units, the rest as the store has them.

    Parameters
    ----------
    aside : where the units' files are.
    units : those with rows in the region that were extracted again.
    keep : whether the store's own cells are sound; else what no unit fills is missing.

    Returns
    -------
    The cells, or None where a unit's file does not have the variable.
    """
    array: zarr.Array[Any] = zarr.open_array(store / variable.path, mode="r", zarr_format=3)
    dtype = object if array.dtype.kind == "T" else array.dtype
    shape = [piece.stop - piece.start for piece in region]
    made = stored(store / variable.path, region) if keep else np.full(shape, array.fill_value, dtype=dtype)
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
            made[_rows(target, axis)] = array.fill_value
        made[target] = values[source]
    return made


def require_slots(store: Path, records: Iterable[ledger.UnitRecord]) -> None:
    """Refuse units whose panels are larger than any of the store's.

    Raises
    ------
    VerificationError : every such unit.
    """
    most = int(zarr.open_array(store / "signals" / "panel_neuron", mode="r", zarr_format=3).shape[-1])
    action = "Repair where it was made (the manifest's run says on what), or extract again"
    larger = [record for record in records if record.n_slots > most]
    if larger:
        raise VerificationError(
            message(f"panel of unit {unit.number}", unit.n_slots, f"at most {most} slots", str(store), action)
            for unit in larger
        )


def _rows(target: Region, axis: int) -> Region:
    """All of the cells in the rows of a region."""
    return tuple(cells if d == axis else slice(None) for d, cells in enumerate(target))


def _overlap(region: Region, axis: int, first: int, shape: tuple[int, ...]) -> tuple[Region, Region]:
    """Where a unit's cells and a region meet: in the unit, and in the region."""
    source, target = [], []
    for d, (cells, size) in enumerate(zip(region, shape, strict=True)):
        at = first if d == axis else 0
        low, high = max(cells.start, at), max(min(cells.stop, at + size), max(cells.start, at))
        source.append(slice(low - at, high - at))
        target.append(slice(low - cells.start, high - cells.start))
    return tuple(source), tuple(target)
