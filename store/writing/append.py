"""Append a phase to a complete store: make it in a folder beside the groups, then move it in by renames.

``appending/PHASE/`` has the units and the ledger of the phase, and ``phase.json``, its description.
Meanwhile the manifest of the store stays as it is, so that the store opens and verifies as before. The last
step makes the groups of the phase, the new root metadata, the new card and the new manifest in
``assembled/``, fsyncs them, and renames the folder to ``commit/``. That rename decides: from then on the
phase belongs to the store. Moving its objects into the store, the manifest last, is a handful of renames,
which any later run completes if a kill interrupted them.
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
from qloc.errors import StorageError
from qloc.store.files.durable import PARTIAL, storing, sync_folder, sync_tree, write_bytes
from qloc.store.files.lock import Lock
from qloc.store.files.own_names import own_folder
from qloc.store.files.staging import remove_unused
from qloc.store.integrity.check import root_attributes
from qloc.store.integrity.verify import sizes_of
from qloc.store.names import APPENDING, CARD, LEDGER, LOCK, MANIFEST, UNITS
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import COPIED, PHASES
from qloc.store.schema.zarr_arrays import stored, whole_writes
from qloc.store.units import ledger
from qloc.store.writing.assemble import assemble, consolidate, verified
from qloc.store.writing.card import card_text, object_sizes
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

PHASE_FILE: Final = "phase.json"
_ASSEMBLED: Final = "assembled"
_COMMIT: Final = "commit"
_ROOT: Final = "zarr.json"


def folder_of(store: Path, phase: str) -> Path:
    """Return the folder of a phase that is being appended.

    Parameters
    ----------
    store : Path
        The store.
    phase : str
        Name of the phase.

    Returns
    -------
    Path
        The folder; it need not exist.
    """
    return store / APPENDING / phase


def under_way(store: Path) -> dict[str, dict[str, Any]]:
    """Return the phases that are being appended, or whose appending was interrupted.

    Parameters
    ----------
    store : Path
        The store.

    Returns
    -------
    dict of str to dict
        The content of ``phase.json`` for each such phase: ``attrs``, ``fingerprint`` and ``layout``.
    """
    phases = {}
    for phase in PHASES:
        with contextlib.suppress(OSError, ValueError):
            phases[phase] = json_of(read_ordinary(folder_of(store, phase) / PHASE_FILE, links=False))
    return phases


def is_appended(store: Path, phase: str) -> bool:
    """Return whether a complete store has all of a phase.

    Parameters
    ----------
    store : Path
        The store.
    phase : str
        Name of the phase.

    Returns
    -------
    bool
        False also while renames of a decided phase are left to be made.
    """
    return phase in root_attributes(store)["fingerprint"] and not _decided(store)


def _decided(store: Path) -> list[Path]:
    return [folder for phase in PHASES if (folder := folder_of(store, phase) / _COMMIT).is_dir()]


def take_lock(store: Path) -> Lock | None:
    """Lock a complete store against other processes that append to it or repair it.

    Parameters
    ----------
    store : Path
        The store.

    Returns
    -------
    Lock or None
        None where the lock's file was replaced meanwhile: try again.

    Raises
    ------
    LockedError
        If another process has the lock.
    StorageError
        If the disk refused, or has no locks.
    """
    with storing(store):
        own_folder(store / APPENDING)
    try:
        return Lock.take(store / APPENDING / LOCK, store)
    except StorageError:  # no locks here
        for made in (store / APPENDING / LOCK, store / APPENDING):
            remove_unused(made)
        raise


def hold_store(store: Path) -> Lock:
    """Take the lock of :func:`take_lock` of a store that nobody moves; raises what that raises.

    Parameters
    ----------
    store : Path
        The store.

    Returns
    -------
    Lock
        The lock; give it back with :func:`give_back`.
    """
    while (lock := take_lock(store)) is None:
        pass
    return lock


def give_back(store: Path, lock: Lock) -> None:
    """Release the lock of :func:`take_lock`, and remove its folder if nothing is left to append.

    Parameters
    ----------
    store : Path
        The store.
    lock : Lock
        The lock to release.
    """
    folder = store / APPENDING
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
    lock.release()


def recover(store: Path) -> None:
    """Make the renames that a killed run left, and remove what is left of phases that are in the store.

    Only for the holder of the lock of :func:`take_lock`.

    Parameters
    ----------
    store : Path
        The store.

    Raises
    ------
    StorageError
        If the disk refused.
    """
    finish_decided(store)
    with storing(store):
        for phase in PHASES:
            folder = folder_of(store, phase)
            if folder.is_dir() and (is_appended(store, phase) or phase not in under_way(store)):
                shutil.rmtree(folder)
        sync_folder(store)


def finish_decided(store: Path) -> None:
    """Make the renames that are left of decided phases, without reading anything of the store.

    Only for the holder of the lock of :func:`take_lock`.

    Parameters
    ----------
    store : Path
        The store.

    Raises
    ------
    StorageError
        If the disk refused.
    """
    with storing(store):
        for commit in _decided(store):
            _move_in(store, commit)


def tidy(store: Path) -> None:
    """Take the lock and :func:`recover` a complete store, if there may be something to recover.

    Parameters
    ----------
    store : Path
        A complete store.

    Raises
    ------
    LockedError
        If another process appends to the store.
    StorageError
        If the disk refused.
    """
    if not (store / APPENDING).is_dir():
        return
    fingerprints = root_attributes(store)["fingerprint"]
    begun = [phase for phase in PHASES if folder_of(store, phase).is_dir()]
    if begun and not _decided(store) and fingerprints.keys().isdisjoint(begun):
        return
    lock = hold_store(store)
    try:
        recover(store)
    finally:
        give_back(store, lock)


def begin(
    store: Path, phase: PhaseLayout, fingerprint: Mapping[str, Any], attrs: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the folder of a phase; the phase counts as begun once ``phase.json`` is in it.

    If the phase was begun before, its folders and description are made again where they are damaged.

    Parameters
    ----------
    store : Path
        The store.
    phase : PhaseLayout
        The layout of the phase.
    fingerprint : Mapping
        What the store keeps of the fingerprint, as :func:`~qloc.store.writing.skeleton.kept_fingerprint`
        gives it.
    attrs : Mapping
        Attributes for the groups of the phase, JSON only.

    Returns
    -------
    dict
        The description of the phase, as ``phase.json`` has it.

    Raises
    ------
    StorageError
        If the disk refused.
    """
    folder = folder_of(store, phase.phase)
    with storing(folder):
        (store / APPENDING).mkdir(exist_ok=True)
        for made in (folder, folder / UNITS, folder / LEDGER):
            own_folder(made)
        sync_tree(folder)
        sync_folder(folder.parent)
    description = canonical({"attrs": dict(attrs), "fingerprint": dict(fingerprint), "layout": phase.attrs()})
    file = folder / PHASE_FILE
    if file.is_symlink() or not file.is_file() or file.read_bytes() != description:
        write_bytes(file, description)
    return dict(json.loads(description))


def sweep_phase(store: Path, phase: str) -> dict[int, ledger.UnitRecord]:
    """Remove what an interrupted run left half done in the folder of a phase.

    Parameters
    ----------
    store : Path
        The store.
    phase : str
        Name of the phase.

    Returns
    -------
    dict of int to UnitRecord
        The units that stay, by number.
    """
    folder = folder_of(store, phase)
    with storing(folder):
        for litter in folder.glob(f"*{PARTIAL}"):
            litter.unlink()
        if (folder / _ASSEMBLED).exists():
            shutil.rmtree(folder / _ASSEMBLED)
    return ledger.sweep(folder)


def finalize_phase(
    store: Path,
    layout: Layout,
    phase: str,
    records: Mapping[int, ledger.UnitRecord],
    run: Mapping[str, Any],
    description: Mapping[str, Any],
) -> None:
    """Put a phase into its store, once all of its units are recorded.

    Parameters
    ----------
    store : Path
        The store.
    layout : Layout
        The layout of the store, including the phase.
    phase : str
        Name of the phase.
    records : Mapping of int to UnitRecord
        The record of every unit, by number.
    run : Mapping
        What the manifest shall say of this run, under the name of the phase.
    description : Mapping
        The result of :func:`begin`.

    Raises
    ------
    VerificationError
        If unit files are not those that were recorded (names each), or if the store's manifest is broken.
    StorageError
        If the disk refused, or gave back other values than were written.
    """
    folder = folder_of(store, phase)
    units = verified(folder, layout, records) if layout.phases[phase].groups else []
    with storing(folder), whole_writes():
        assembled = folder / _ASSEMBLED
        if assembled.exists():
            shutil.rmtree(assembled)
        _make(assembled, store, layout, phase, units, description)
        notes = {str(unit.number): dict(unit.notes) for unit in units if unit.notes}
        (assembled / MANIFEST).write_bytes(manifest.appended(store, assembled, phase, run=run, notes=notes))
        sync_tree(assembled)
        assembled.rename(folder / _COMMIT)
        sync_folder(folder)
        _move_in(store, folder / _COMMIT)
        shutil.rmtree(folder)
        sync_folder(store)


def _make(
    target: Path,
    store: Path,
    layout: Layout,
    phase: str,
    units: list[ledger.UnitRecord],
    description: Mapping[str, Any],
) -> None:
    """Make everything that the phase adds to the store or changes in it, except the manifest."""
    folder = folder_of(store, phase)
    phase_layout = layout.phases[phase]
    variables = phase_layout.variables()
    zarr.create_group(target, zarr_format=3)
    assemble(
        target,
        folder,
        layout,
        variables,
        units,
        attributes=dict.fromkeys(phase_layout.groups, description["attrs"]),
        copied={v.path: stored(store / COPIED[v.path]) for v in variables if v.path in COPIED},
    )
    consolidate(target)
    (target / _ROOT).write_bytes(_root(store, target, phase, description))
    sizes = {**sizes_of(manifest.read(store)["objects"]), **object_sizes(target)}
    (target / CARD).write_text(card_text(store, layout, sizes, target), encoding="utf-8")


def _root(store: Path, assembled: Path, phase: str, description: Mapping[str, Any]) -> bytes:
    """Return the root's metadata with the phase: attributes, and consolidated metadata of its groups."""
    root, own = manifest.sealed_root(store), json.loads((assembled / _ROOT).read_bytes())
    attributes = root["attributes"]
    attributes["fingerprint"] = {**attributes["fingerprint"], phase: description["fingerprint"]}
    attributes["phases"] = {
        **attributes.get("phases", {}),
        phase: {**description["layout"], "attrs": description["attrs"]},
    }
    root["consolidated_metadata"]["metadata"] |= own["consolidated_metadata"]["metadata"]
    return canonical(root)


def _move_in(store: Path, commit: Path) -> None:
    """Move the groups first, then card and root, the manifest last.

    Objects that were moved are no longer in ``commit``, so that a later run moves the rest. Files that are
    none of them, such as those of file browsers, are removed with the folder.
    """
    last = (CARD, _ROOT, MANIFEST)
    groups = sorted(path.name for path in commit.iterdir() if path.is_dir())
    for name in (*groups, *(name for name in last if (commit / name).exists())):
        if (store / name).is_dir():
            shutil.rmtree(store / name)
        (commit / name).replace(store / name)
    sync_folder(store)
    shutil.rmtree(commit)


def with_phase(layout: Layout, phase: PhaseLayout) -> Layout:
    """Return the layout that the store has once the phase is in it.

    Parameters
    ----------
    layout : Layout
        The layout of the store.
    phase : PhaseLayout
        The layout of the phase.

    Returns
    -------
    Layout
        A new layout with the phase among its phases.
    """
    return replace(layout, phases={**layout.phases, phase.phase: phase})
