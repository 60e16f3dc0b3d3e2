"""A phase appended to a complete store: made in a folder beside the groups, then moved in by renames.

``appending/PHASE/`` has the phase's units and ledger, and ``phase.json``, what it is. The store's manifest
stands meanwhile, so that all that is in the store opens and verifies as before. To finish, the phase's
groups, the root's metadata, the card and the manifest of the store-to-be are made in ``assembled/``, fsynced,
and the folder is renamed ``commit/``: from then on the phase is decided, and moving its objects into the
store, the manifest last, is a handful of renames that any later run takes up where a kill cut them off.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import zarr

from qloc.canonical_json import canonical
from qloc.store.files.durable import PARTIAL, storing, sync_folder, sync_tree, write_bytes
from qloc.store.files.lock import Lock
from qloc.store.integrity.check import root_attributes
from qloc.store.names import APPENDING, CARD, LEDGER, LOCK, MANIFEST, UNITS
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import COPIED, PHASES
from qloc.store.schema.zarr_arrays import stored, whole_writes
from qloc.store.units import ledger
from qloc.store.writing import card
from qloc.store.writing.assemble import assemble, consolidate, verified

PHASE_FILE: Final = "phase.json"
_ASSEMBLED: Final = "assembled"
_COMMIT: Final = "commit"
_ROOT: Final = "zarr.json"


def folder_of(store: Path, phase: str) -> Path:
    """Where a phase is while it is being appended."""
    return store / APPENDING / phase


def under_way(store: Path) -> dict[str, dict[str, Any]]:
    """Phases that are being appended or were interrupted: what ``phase.json`` says of each."""
    found = {}
    for phase in PHASES:
        with contextlib.suppress(OSError, ValueError):
            found[phase] = json.loads((folder_of(store, phase) / PHASE_FILE).read_bytes())
    return found


def is_appended(store: Path, phase: str) -> bool:
    """Whether a complete store has a phase, all of it."""
    return phase in root_attributes(store)["fingerprint"] and not _decided(store)


def _decided(store: Path) -> list[Path]:
    return [folder for phase in PHASES if (folder := folder_of(store, phase) / _COMMIT).is_dir()]


def take_lock(store: Path) -> Lock | None:
    """Lock a complete store against others that append to it or repair it; None: look again.

    Raises
    ------
    LockedError : another process does. StorageError : the disk refused.
    """
    with storing(store):
        (store / APPENDING).mkdir(exist_ok=True)
    return Lock.take(store / APPENDING / LOCK, store)


def hold(store: Path) -> Lock:
    """The lock of :func:`take_lock`, of a store that is in its place; raises what that raises."""
    while (lock := take_lock(store)) is None:
        pass
    return lock


def give_back(store: Path, lock: Lock) -> None:
    """Release the lock of :func:`take_lock`; where nothing is left to append, its folder goes too."""
    folder = store / APPENDING
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
    lock.release()


def recover(store: Path) -> None:
    """Finish what was decided when a run was killed, and remove what is left of phases that are in.

    For whoever has the lock of :func:`take_lock`.

    Raises
    ------
    StorageError : the disk refused.
    """
    finish_decided(store)
    with storing(store):
        for phase in PHASES:
            folder = folder_of(store, phase)
            if folder.is_dir() and (is_appended(store, phase) or not (folder / PHASE_FILE).is_file()):
                shutil.rmtree(folder)
        sync_folder(store)


def finish_decided(store: Path) -> None:
    """Make the renames that are left of phases that were decided; reads nothing of the store.

    For whoever has the lock of :func:`take_lock`.

    Raises
    ------
    StorageError : the disk refused.
    """
    with storing(store):
        for commit in _decided(store):
            _move_in(store, commit)


def tidy(store: Path) -> None:
    """What :func:`recover` does, locked, where there may be something to recover. For complete stores.

    Raises
    ------
    LockedError : another process appends to the store. StorageError : the disk refused.
    """
    if not (store / APPENDING).is_dir():
        return
    held = root_attributes(store)["fingerprint"]
    begun = [phase for phase in PHASES if folder_of(store, phase).is_dir()]
    if begun and not _decided(store) and held.keys().isdisjoint(begun):
        return
    lock = hold(store)
    try:
        recover(store)
    finally:
        give_back(store, lock)


def begin(store: Path, phase: PhaseLayout, made: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
    """Make the folder of a phase; it counts once ``phase.json`` is in it.

    Raises
    ------
    StorageError : the disk refused.
    """
    folder = folder_of(store, phase.phase)
    with storing(folder):
        for name in (UNITS, LEDGER):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sync_tree(folder)
        sync_folder(folder.parent)
    said = {"attrs": dict(attrs), "fingerprint": dict(made), "layout": phase.attrs()}
    write_bytes(folder / PHASE_FILE, canonical(said))


def sweep(store: Path, phase: str) -> dict[int, ledger.UnitRecord]:
    """Remove what an interrupted run left half done; return the units that stay, by number."""
    folder = folder_of(store, phase)
    with storing(folder):
        for litter in folder.glob(f"*{PARTIAL}"):
            litter.unlink()
        if (folder / _ASSEMBLED).exists():
            shutil.rmtree(folder / _ASSEMBLED)
    return ledger.sweep(folder)


def finalize(
    store: Path, layout: Layout, phase: str, records: Mapping[int, ledger.UnitRecord], run: Mapping[str, Any]
) -> None:
    """Put a phase whose units are all recorded into its store.

    Parameters
    ----------
    layout : the store's, with the phase's among its phases.
    run : goes into the manifest, under the phase's name.

    Raises
    ------
    VerificationError : unit files are not those recorded, each named; or the store's manifest is broken.
    StorageError : the disk refused, or gave back something else.
    """
    folder = folder_of(store, phase)
    units = verified(folder, layout, records) if layout.phases[phase].groups else []
    with storing(folder), whole_writes():
        made = folder / _ASSEMBLED
        if made.exists():
            shutil.rmtree(made)
        _make(made, store, layout, phase, units)
        notes = {str(unit.number): dict(unit.notes) for unit in units if unit.notes}
        (made / MANIFEST).write_bytes(manifest.appended(store, made, phase, run=run, notes=notes))
        sync_tree(made)
        made.rename(folder / _COMMIT)
        sync_folder(folder)
        _move_in(store, folder / _COMMIT)
        shutil.rmtree(folder)
        sync_folder(store)


def _make(made: Path, store: Path, layout: Layout, phase: str, units: list[ledger.UnitRecord]) -> None:
    """All that the phase adds to the store or changes in it, but the manifest."""
    folder = folder_of(store, phase)
    said = json.loads((folder / PHASE_FILE).read_bytes())
    own = layout.phases[phase]
    variables = own.variables()
    zarr.create_group(made, zarr_format=3)
    assemble(
        made,
        folder,
        layout,
        variables,
        units,
        attributes=dict.fromkeys(own.groups, said["attrs"]),
        copied={v.path: stored(store / COPIED[v.path]) for v in variables if v.path in COPIED},
    )
    consolidate(made)
    (made / _ROOT).write_bytes(_root(store, made, phase, said))
    sizes = {**card.sizes_of(store), **card.sizes_of(made)}
    (made / CARD).write_text(card.text(store, layout, sizes, made), encoding="utf-8")


def _root(store: Path, made: Path, phase: str, said: Mapping[str, Any]) -> bytes:
    """Metadata of the root with the phase: attributes, and consolidated metadata of its groups too."""
    root, own = (json.loads((top / _ROOT).read_bytes()) for top in (store, made))
    attributes = root["attributes"]
    attributes["fingerprint"] = {**attributes["fingerprint"], phase: said["fingerprint"]}
    attributes["phases"] = {**attributes.get("phases", {}), phase: {**said["layout"], "attrs": said["attrs"]}}
    root["consolidated_metadata"]["metadata"] |= own["consolidated_metadata"]["metadata"]
    return canonical(root)


def _move_in(store: Path, commit: Path) -> None:
    """Groups first, then card and root, the manifest last; what was moved is no longer in ``commit``."""
    last = (CARD, _ROOT, MANIFEST)
    groups = sorted(path.name for path in commit.iterdir() if path.name not in last)
    for name in (*groups, *(name for name in last if (commit / name).exists())):
        if (store / name).is_dir():
            shutil.rmtree(store / name)
        (commit / name).replace(store / name)
    sync_folder(store)
    commit.rmdir()


def with_phase(layout: Layout, phase: PhaseLayout) -> Layout:
    """The layout of the store once the phase is in it."""
    return replace(layout, phases={**layout.phases, phase.phase: phase})
