"""Units as immutable files, and the ledger that says which of them count.

A worker writes ``units/unit-N-DIGEST.npz``; then the coordinator, and no other process, writes
``ledger/unit-N.json``. A file is named by its content, so that a worker that was given up on cannot overwrite
what was recorded. Nothing is pickled: a column of strings is stored as the UTF-8 of its JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from qloc.arrays import Array
from qloc.canonical_json import canonical, digest, file_digest
from qloc.errors import InputError, message
from qloc.store.files.durable import storing, sync_folder, write_aside, write_bytes
from qloc.store.files.npz_mmap import MappedUnit
from qloc.store.files.own_names import own_folder, remove
from qloc.store.names import LEDGER, LOCK, SHARD, SKELETON, UNITS
from qloc.store.schema.variables import STRING, Variable
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

_TEXT: Final = np.dtype("uint8")
_PANEL: Final = "signals/panel_neuron"
_OWN: Final = "record_sha256"
"""Of the record's canonical JSON without this key."""


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """What the ledger says of a unit.

    Attributes
    ----------
    number : int
        Number of the unit.
    file : str
        Name of its file in ``units/``.
    sha256 : str
        Hexadecimal sha256 of the file.
    size : int
        Size of the file in bytes.
    n_slots : int
        Size of the largest panel in the unit; 0 in phases, which have no panels.
    notes : mapping
        What a reader should know, JSON only, such as that a batch was shrunk for memory; kept in the
        manifest.
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
    """Write the file of a unit durably; the unit does not count before :func:`record` is called.

    Parameters
    ----------
    store : Path
        The folder that has ``units/``.
    number : int
        Number of the unit.
    arrays : mapping of str to ndarray
        Arrays by variable path; strings as object arrays of str.
    notes : mapping
        Notes for the record.

    Returns
    -------
    UnitRecord
        The record to be written.

    Raises
    ------
    StorageError
        The disk refused.
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
    """Write the ledger record of a unit durably: from here on the unit counts. For the coordinator only.

    Parameters
    ----------
    store : Path
        The folder that has ``units/`` and ``ledger/``.
    unit : UnitRecord
        The record.

    Raises
    ------
    InputError
        The file of the unit does not exist.
    StorageError
        The disk refused.
    """
    if not (store / UNITS / unit.file).is_file():
        where = str(store / UNITS)
        raise InputError(
            message("unit file", unit.file, "a file that write_unit wrote", where, "Write the unit first")
        )
    content = asdict(unit)
    write_bytes(_record_path(store, unit.number), canonical({**content, _OWN: digest(content)}))


def records(store: Path) -> Iterator[UnitRecord]:
    """List the units with a readable record and a file of the recorded size and sha256, by number.

    Parameters
    ----------
    store : Path
        The folder that has ``units/`` and ``ledger/``.

    Yields
    ------
    UnitRecord
        The next record.
    """
    for path in sorted((store / LEDGER).glob("unit-*.json")):
        unit = _read(path)
        if unit is not None and path == _record_path(store, unit.number) and verifies(store, unit):
            yield unit


def verifies(store: Path, unit: UnitRecord) -> bool:
    """Tell whether the file of a unit is the one that was recorded.

    Parameters
    ----------
    store : Path
        The folder that has ``units/``.
    unit : UnitRecord
        The record.

    Returns
    -------
    bool
        Whether size and sha256 are as recorded; False if the file cannot be read.
    """
    path = store / UNITS / unit.file
    try:
        return path.stat().st_size == unit.size and file_digest(path) == unit.sha256
    except OSError:
        return False


def sweep(store: Path) -> dict[int, UnitRecord]:
    """Remove what an interrupted run left half done in ``units/`` and ``ledger/``.

    Parameters
    ----------
    store : Path
        The folder that has ``units/`` and ``ledger/``.

    Returns
    -------
    dict of int to UnitRecord
        The units that count, by number.
    """
    kept = {unit.number: unit for unit in records(store)}
    with storing(store):
        ledger = {_record_path(store, number).name for number in kept} | {LOCK, SHARD, SKELETON}
        for folder, names in (
            (store / UNITS, {unit.file for unit in kept.values()}),
            (store / LEDGER, ledger),
        ):
            own_folder(folder)  # programs that synchronize folders leave out empty ones
            for path in folder.iterdir():
                if path.name not in names:
                    remove(path)
    return kept


def open_unit(store: Path, unit: UnitRecord) -> MappedUnit:
    """Open the file of a unit that verifies; only the bytes that are used are read, and nothing is unpickled.

    Parameters
    ----------
    store : Path
        The folder that has ``units/``.
    unit : UnitRecord
        The record.

    Returns
    -------
    MappedUnit
        Its arrays by name.
    """
    return MappedUnit(store / UNITS / unit.file)


def member(opened: MappedUnit, variable: Variable) -> Array:
    """Return one variable of an open unit.

    Parameters
    ----------
    opened : MappedUnit
        The unit.
    variable : Variable
        The variable.

    Returns
    -------
    ndarray
        Its values; strings as an object array of str.
    """
    values: Array = opened[variable.path]
    if variable.dtype != STRING:
        return values
    rows = json_of(values.tobytes())
    if len(variable.dims) == 1:
        return np.array([*rows, None], dtype=object)[:-1]
    return np.array(rows, dtype=object).reshape(len(rows), -1 if rows else 0)


def _encoded(values: Array) -> Array:
    return np.frombuffer(canonical(values.tolist()), dtype=_TEXT) if values.dtype == object else values


def _record_path(store: Path, number: int) -> Path:
    return store / LEDGER / f"unit-{number:06d}.json"


def _read(path: Path) -> UnitRecord | None:
    """Read a record; None where it is damaged. Those that older versions wrote lack a digest of their own."""
    try:
        content = json_of(read_ordinary(path, links=False))
        own = content.pop(_OWN, None)
        unit = UnitRecord(**content)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    counts, texts = (unit.number, unit.size, unit.n_slots), (unit.file, unit.sha256)
    whole = (
        all(type(count) is int and count >= 0 for count in counts)
        and all(isinstance(text, str) for text in texts)
        and isinstance(unit.notes, dict)
        and Path(unit.file).name == unit.file
        and own in (None, digest(content))
    )
    return unit if whole else None
