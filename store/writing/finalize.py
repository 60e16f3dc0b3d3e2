"""The last step of an extraction: arrays from unit files, then the card, then the manifest.

Killed and run again, it gives the same bytes; only with the manifest, written last, is a store complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from qloc.store.files.durable import storing, sync_folder, sync_tree
from qloc.store.names import LEDGER, UNITS
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import SCHEMA_VERSION
from qloc.store.schema.zarr_arrays import whole_writes
from qloc.store.units import ledger
from qloc.store.writing import card
from qloc.store.writing.assemble import assemble, consolidate, verified

_FILLED: Final = ("queries", "signals", "attention", "grams", "statistics")


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
    units = verified(store, layout, records)
    with storing(store), whole_writes():
        _clear(store)
        attributes = {"signals": layout.signals_attrs()}
        assemble(store, store, layout, layout.variables(), units, attributes=attributes, copied={})
        consolidate(store)
        for name in ("facts", *_FILLED):
            if (store / name).is_dir():
                sync_tree(store / name)
        card.write(store, layout)
        sync_folder(store)
        notes = {str(unit.number): dict(unit.notes) for unit in units if unit.notes}
        working = (UNITS, LEDGER)
        manifest.write(store, schema_version=SCHEMA_VERSION, run=run, notes=notes, leave_out=working)
        remove_working(store)


def remove_working(store: Path) -> None:
    """Remove unit files and ledger of a complete store: the manifest now says what counts."""
    for name in (UNITS, LEDGER):
        if (store / name).exists():
            shutil.rmtree(store / name)
    sync_folder(store)


def _clear(store: Path) -> None:
    for name in _FILLED:
        if (store / name).exists():
            shutil.rmtree(store / name)
    for path in store.glob("*.partial"):
        path.unlink()
