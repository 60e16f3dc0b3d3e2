"""Complete a store whose units are all recorded but whose assembling was interrupted; this needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qloc.errors import InputError, message
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.integrity.check import layout_of, root_attributes
from qloc.store.names import LEDGER, LOCK
from qloc.store.schema.versions import refuse_older
from qloc.store.units import ledger
from qloc.store.writing.finalize import finalize_store


def roll_forward(path: Path, run: Mapping[str, Any]) -> None:
    """Complete a store whose units are all recorded, and whose assembling was interrupted.

    Parameters
    ----------
    path : Path
        The unfinished store.
    run : Mapping
        What the manifest shall say of this run, JSON only.

    Raises
    ------
    SchemaError
        If the path is no store, or the store has another schema.
    InputError
        If units are missing: only an extraction can make them.
    LockedError
        If another process writes the store.
    StorageError
        If the disk refused; run again.
    """
    layout = layout_of(path)
    refuse_older(root_attributes(path), Folder(path))
    lock = Lock.take(path / LEDGER / LOCK, path)
    try:
        records = {unit.number: unit for unit in ledger.records(path)}
        if missing := len(layout.units) - len(records):
            rule = f"0 of {len(layout.units)} in a store that is to be completed without its model"
            action = "Run the qloc extract command that began it, which goes on where it was"
            raise InputError(message("number of missing units", missing, rule, str(path), action))
        finalize_store(path, layout, records, run)
    finally:
        if lock is not None:
            lock.release()
