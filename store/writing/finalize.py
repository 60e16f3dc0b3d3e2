"""Finalize an extraction: write the arrays from unit files, then the card, then the manifest.

If the process is killed and run again, it gives the same bytes. A store is complete only with its manifest,
which is written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from qloc.store.files.durable import storing, sync_folder, sync_tree
from qloc.store.files.set_aside import set_aside
from qloc.store.integrity.skeleton_record import SkeletonRecord, require_sound
from qloc.store.names import CARD, LEDGER, ROOT, UNITS, is_object
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_variables import OF_ALL_UNITS
from qloc.store.schema.variables import FACTS, SCHEMA_VERSION
from qloc.store.schema.zarr_arrays import whole_writes
from qloc.store.units import ledger
from qloc.store.writing.assemble import assemble, consolidate, verified
from qloc.store.writing.card import write_card

_FACTS: Final = FACTS[0].group
_FILLED: Final = ("queries", "signals", "attention", "grams", *OF_ALL_UNITS)


def finalize_store(
    store: Path, layout: Layout, records: Mapping[int, ledger.UnitRecord], run: Mapping[str, Any]
) -> None:
    """Assemble the arrays of a store whose units are all recorded, and make the store complete.

    Parameters
    ----------
    store : Path
        The store.
    layout : Layout
        The layout of the store.
    records : Mapping of int to UnitRecord
        The record of every unit, by number.
    run : Mapping
        What the manifest shall say of this run, JSON only.

    Raises
    ------
    VerificationError
        If unit files, or what else the store has, are not what was recorded; names each.
    StorageError
        If the disk refused, or gave back other values than were written.
    """
    require_sound(store)
    record = SkeletonRecord.read(store)
    units = verified(store, layout, records)
    with storing(store), whole_writes():
        _clear(store)
        attributes = {"signals": layout.signals_attrs()}
        assemble(store, store, layout, layout.variables(), units, attributes=attributes, copied={})
        consolidate(store)
        for name in (_FACTS, *_FILLED):
            if (store / name).is_dir():
                sync_tree(store / name)
        write_card(store, layout)
        sync_folder(store)
        notes = {str(unit.number): dict(unit.notes) for unit in units if unit.notes}
        working = (UNITS, LEDGER)
        _set_strays_aside(store, working, record)
        manifest.write(
            store,
            schema_version=SCHEMA_VERSION,
            run=run,
            notes=notes,
            leave_out=working,
            known=record.objects if record else {},
        )
        remove_working(store)


def _set_strays_aside(store: Path, working: tuple[str, ...], record: SkeletonRecord | None) -> None:
    """Move what is no part of the store, such as files of file browsers, to ``STORE.removed``."""
    for name in [*manifest.objects(store, leave_out=working)]:
        top = name.partition("/")[0]
        of_record = record is None or top != _FACTS or name in record.objects
        if not (is_object(name) and top in (ROOT, CARD, _FACTS, *_FILLED) and of_record):
            set_aside(store, name)


def remove_working(store: Path) -> None:
    """Remove unit files and ledger of a complete store, whose manifest now lists what counts.

    Parameters
    ----------
    store : Path
        The store.
    """
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
