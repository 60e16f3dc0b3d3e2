"""Units as immutable files, and the ledger that says which of them count.

A worker writes ``units/unit-N-DIGEST.npz``; the coordinator, and only it, then writes ``ledger/unit-N.json``.
A file is named by its content, so that a worker that was given up on cannot overwrite what was recorded.
Nothing is pickled: a column of strings is stored as the UTF-8 of its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from qloc.arrays import Array
from qloc.canonical_json import canonical, file_digest
from qloc.errors import InputError, message
from qloc.store.files.durable import storing, sync_folder, write_aside, write_bytes
from qloc.store.files.npz_mmap import MappedUnit
from qloc.store.names import LEDGER, LOCK, UNITS
from qloc.store.schema.variables import STRING, Variable

_TEXT: Final = np.dtype("uint8")
_PANEL: Final = "signals/panel_neuron"


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """What the ledger says of a unit.

    Attributes
    ----------
    number : the unit's.
    file : name of its file in ``units/``.
    sha256, size : of that file; size in bytes.
    n_slots : its largest panel; 0 in phases that have none.
    notes : what a reader should know, JSON only, such as that it was shrunk for memory; kept in the manifest.
    """

    number: int
    file: str
    sha256: str
    size: int
    n_slots: int
    notes: Mapping[str, Any] = field(default_factory=dict)


def write_arrays(
    store: Path, number: int, arrays: Mapping[str, Array], notes: Mapping[str, Any]
) -> UnitRecord:
    """Write a unit's file durably, and say what it is; not recorded yet.

    Parameters
    ----------
    arrays : by variable path; strings as object arrays of str.

    Raises
    ------
    StorageError : the disk refused.
    """
    members = {path: _encoded(values) for path, values in arrays.items()}

    def write(target: BinaryIO) -> None:
        np.savez(target, allow_pickle=False, **members)

    folder = store / UNITS
    aside = write_aside(folder, write)
    with storing(aside):
        sha256 = file_digest(aside)
        final = aside.with_name(f"unit-{number:06d}-{sha256[:16]}.npz")
        size = aside.stat().st_size
        aside.replace(final)
        sync_folder(folder)
    n_slots = int(arrays[_PANEL].shape[1]) if _PANEL in arrays else 0
    return UnitRecord(
        number=number, file=final.name, sha256=sha256, size=size, n_slots=n_slots, notes=dict(notes)
    )


def record(store: Path, unit: UnitRecord) -> None:
    """Write a unit's ledger record durably: from here on the unit counts. For the coordinator only.

    Raises
    ------
    InputError : the unit's file is not there.
    StorageError : the disk refused.
    """
    if not (store / UNITS / unit.file).is_file():
        where = str(store / UNITS)
        raise InputError(
            message("unit file", unit.file, "a file that write_unit wrote", where, "Write the unit first")
        )
    write_bytes(_record_path(store, unit.number), canonical(asdict(unit)))


def records(store: Path) -> Iterator[UnitRecord]:
    """Every unit whose record can be read and whose file has the size and digest recorded, by number."""
    for path in sorted((store / LEDGER).glob("unit-*.json")):
        unit = _read(path)
        if unit is not None and path == _record_path(store, unit.number) and verifies(store, unit):
            yield unit


def verifies(store: Path, unit: UnitRecord) -> bool:
    """Whether a unit's file is the one recorded."""
    path = store / UNITS / unit.file
    try:
        return path.stat().st_size == unit.size and file_digest(path) == unit.sha256
    except OSError:
        return False


def sweep(store: Path) -> dict[int, UnitRecord]:
    """Remove what an interrupted run left half done; return the units that stay, by number."""
    kept = {unit.number: unit for unit in records(store)}
    with storing(store):
        ledger = {_record_path(store, number).name for number in kept} | {LOCK}
        for folder, names in (
            (store / UNITS, {unit.file for unit in kept.values()}),
            (store / LEDGER, ledger),
        ):
            for path in folder.iterdir():
                if path.name not in names:
                    path.unlink()
    return kept


def open_unit(store: Path, unit: UnitRecord) -> MappedUnit:
    """A unit's file, which verifies; what is used of a member is read when it is, none is unpickled."""
    return MappedUnit(store / UNITS / unit.file)


def member(opened: MappedUnit, variable: Variable) -> Array:
    """One variable of an open unit, strings as an object array of str."""
    values: Array = opened[variable.path]
    if variable.dtype != STRING:
        return values
    rows = json.loads(values.tobytes())
    if len(variable.dims) == 1:
        return np.array([*rows, None], dtype=object)[:-1]
    return np.array(rows, dtype=object).reshape(len(rows), -1 if rows else 0)


def _encoded(values: Array) -> Array:
    return np.frombuffer(canonical(values.tolist()), dtype=_TEXT) if values.dtype == object else values


def _record_path(store: Path, number: int) -> Path:
    return store / LEDGER / f"unit-{number:06d}.json"


def _read(path: Path) -> UnitRecord | None:
    try:
        unit = UnitRecord(**json.loads(path.read_bytes()))
        return unit if Path(unit.file).name == unit.file else None
    except (OSError, ValueError, TypeError):
        return None
