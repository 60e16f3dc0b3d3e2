"""Make the skeleton of a store: root attributes, /facts, and folders for units and ledger.

It is made in a folder beside the path and then renamed. Where a store is resumed, what was damaged of it is
made again. This module also compares fingerprints, so that a store is never continued with other parameters.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import zarr

from qloc.arrays import Array
from qloc.block import Outline
from qloc.canonical_json import canonical, differences, digest
from qloc.errors import FingerprintError, InputError, StorageError, message
from qloc.store.files.durable import PARTIAL, storing, sync_folder, sync_tree, write_bytes
from qloc.store.files.lock import Lock
from qloc.store.files.own_names import own_folder, remove
from qloc.store.files.place import is_inside
from qloc.store.files.set_aside import set_aside
from qloc.store.files.staging import remove_unused
from qloc.store.integrity.check import OURS, is_store, root_attributes
from qloc.store.integrity.skeleton_record import SkeletonRecord
from qloc.store.names import LEDGER, LOCK, MANIFEST, ROOT, SKELETON, UNITS
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import FACTS, SCHEMA_VERSION, as_stored, fact_column
from qloc.store.schema.zarr_arrays import create, put, settle_metadata, whole_writes
from qloc.vocabulary import FACT

SIGNALS_PHASE: Final = "signals"
_FACTS: Final = FACTS[0].group


def refuse_other(path: Path) -> None:
    """Refuse a path that holds something other than a store, so that nothing is overwritten or mixed with it.

    Parameters
    ----------
    path : Path
        Where the store is to be.

    Raises
    ------
    InputError
        If the path is a file, a link to nothing, the working directory, or a folder that is neither empty nor
        a store.
    """
    if path.is_symlink() and not path.exists():
        rule = "a qloc store, or nothing yet"
        raise InputError(
            message("path", "a link to nothing", rule, str(path), "Remove it, or give another --out")
        )
    if path.is_dir() and path.samefile(Path.cwd()) and not is_store(path):
        rule = "a path of its own, where the store is to be"
        raise InputError(message("path", "the working directory", rule, str(path), "Give another --out"))
    if not path.exists() or is_store(path) or (path.is_dir() and not any(path.iterdir())):
        return
    got = "a folder with something else in it" if path.is_dir() else "a file"
    raise InputError(message("path", got, "a qloc store, or nothing yet", str(path), "Give another --out"))


def make_skeleton(
    path: Path, outline: Outline, layout: Layout, fingerprint: Mapping[str, Any]
) -> Lock | None:
    """Make a skeleton in a sibling folder, locked, and rename it.

    Parameters
    ----------
    path : Path
        Where the store is to be.
    outline : Outline
        Facts, candidates and attributes of the study.
    layout : Layout
        The layout of the store.
    fingerprint : Mapping
        The parameters that the digest of ``signals`` is made from.

    Returns
    -------
    Lock or None
        The lock of the new store. None where another process was faster: look again.

    Raises
    ------
    InputError
        If facts or attributes of the outline cannot be stored; lists each problem.
    LockedError
        If another process is making the same store.
    StorageError
        If the disk refused; nothing is left.
    """
    check_outline(outline)
    path = path.resolve()
    aside = path.parent / f".{path.name}.new"
    with storing(path):
        aside.parent.mkdir(parents=True, exist_ok=True)
        own_folder(aside)
        own_folder(aside / LEDGER)
    try:
        lock = Lock.take(aside / LEDGER / LOCK, path)
    except StorageError:  # no locks here
        for made in (aside / LEDGER / LOCK, aside / LEDGER, aside):
            remove_unused(made)
        raise
    if lock is None:
        return None
    try:
        with storing(path), whole_writes():
            _write(aside, outline, layout.attrs(), fingerprint)
            if _renamed(aside, path):
                return lock
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        lock.release()
        raise
    shutil.rmtree(aside, ignore_errors=True)
    lock.release()
    return None


def _renamed(aside: Path, path: Path) -> bool:
    try:
        aside.rename(path)
    except OSError:
        if is_store(path):
            return False
        raise
    sync_folder(path.parent)
    return True


def _write(aside: Path, outline: Outline, layout: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    for litter in aside.iterdir():
        if litter.name != LEDGER:
            remove(litter)
    for litter in (aside / LEDGER).iterdir():
        if litter.name != LOCK:
            remove(litter)
    (aside / UNITS).mkdir()
    _write_hierarchy(aside, outline, layout, fingerprint)
    SkeletonRecord.of(aside).write(aside)
    sync_tree(aside)


def _write_hierarchy(
    folder: Path, outline: Outline, layout: Mapping[str, Any], fingerprint: Mapping[str, Any]
) -> None:
    """Write the root with its attributes, and /facts."""
    ours = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": {SIGNALS_PHASE: kept_fingerprint(fingerprint)},
        "layout": dict(layout),
    }
    root = zarr.create_group(folder, zarr_format=3, attributes={**ours, **outline.attrs})
    candidates = {relation: list(answers) for relation, answers in outline.candidates.items()}
    group = root.create_group(_FACTS, attributes={"candidates": candidates})
    for name, column in outline.facts.items():
        variable = fact_column(name, column)
        values = as_stored(column, variable.dtype)
        put(create(group, variable, variable.dtype, values.shape), (slice(None),), values)
    settle_metadata(folder)


def mend_root(path: Path) -> bool:
    """Write the root's metadata of an unfinished store again from its record, where they are damaged.

    Without them a path is not known to be a store. Nothing is done where another process writes the store.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    bool
        Whether they were written.

    Raises
    ------
    LockedError
        If the root is damaged and another process writes the store.
    StorageError
        If the disk refused.
    """
    record = SkeletonRecord.read(path)
    if record is None or (path / MANIFEST).exists() or record.has_root_of(path):
        return False
    lock = Lock.take(path / LEDGER / LOCK, path)
    if lock is None:
        return False
    try:
        return _mended_root(path)
    finally:
        lock.release()


def _mended_root(path: Path) -> bool:
    record = SkeletonRecord.read(path)
    if record is None or (path / MANIFEST).exists() or record.has_root_of(path):
        return False
    write_bytes(path / ROOT, canonical(record.root))
    return True


def restore(path: Path, outline: Outline, fingerprint: Mapping[str, Any]) -> tuple[str, ...]:
    """Make again what is damaged of an unfinished store besides its units; only for the holder of its lock.

    The root is written from the record. If any object of /facts is damaged, the whole group is written from
    the outline, and what is there is moved to ``STORE.removed``. A store without a record, or with a damaged
    one, gets both from the outline, and a record.

    Parameters
    ----------
    path : Path
        The store, of this fingerprint and layout.
    outline : Outline
        Facts, candidates and attributes of the study.
    fingerprint : Mapping
        The parameters that the digest of ``signals`` is made from.

    Returns
    -------
    tuple of str
        Names of the objects that were damaged; that of the record where it was missing or damaged.

    Raises
    ------
    StorageError
        If the disk refused.
    """
    record = SkeletonRecord.read(path)
    damaged = [f"{LEDGER}/{SKELETON}"] if record is None else record.damaged(path)
    again = path / LEDGER / f"skeleton{PARTIAL}"
    with storing(path), whole_writes():
        for name in (UNITS, LEDGER):  # programs that synchronize folders leave out empty ones
            own_folder(path / name)
        if ROOT in damaged:
            _mended_root(path)
        if record is None or damaged not in ([], [ROOT]):
            shutil.rmtree(again, ignore_errors=True)
            _write_hierarchy(again, outline, root_attributes(path)["layout"], fingerprint)
            sync_tree(again)
            if (path / _FACTS).exists() or (path / _FACTS).is_symlink():
                set_aside(path, _FACTS)
            (again / _FACTS).rename(path / _FACTS)
            if record is None:
                (again / ROOT).replace(path / ROOT)
            sync_folder(path)
            SkeletonRecord.of(path).write(path)
            shutil.rmtree(again)
    return tuple(damaged)


def check_outline(outline: Outline) -> None:
    """Refuse an outline that no store can hold.

    Parameters
    ----------
    outline : Outline
        Facts and attributes of a study.

    Raises
    ------
    InputError
        If columns are missing, have another length, or have names that no array can have; lists each
        problem.
    """
    where = "the outline's facts"
    problems = [
        message("column", "missing", repr(ours.name), where, "Make outlines as qloc.block says")
        for ours in FACTS
        if ours.name not in outline.facts
    ]
    for name, column in outline.facts.items():
        problems += _column_problems(name, column, outline.sizes[FACT])
    problems += [
        message("attribute", name, f"a name other than {', '.join(OURS)}", "the outline's attrs", "Rename it")
        for name in OURS
        if name in outline.attrs
    ]
    if problems:
        raise InputError(problems)


def _column_problems(name: str, column: Array, n_facts: int) -> list[str]:
    problems = []
    taken = name.startswith("__") or name == "zarr.json"
    if not name.strip(". ") or "/" in name or not is_inside(name) or taken:  # manifests list no such name
        rule = "a name without /, \\, : and control characters, not empty, dots, zarr.json or of the form __…"
        problems.append(
            message("attribute of facts", name, rule, "the outline's facts", "Rename it in the facts")
        )
    if column.shape != (n_facts,):
        what = f"shape of column {name!r}"
        problems.append(
            message(what, column.shape, str((n_facts,)), "the outline's facts", "Give a value a fact")
        )
    return problems


def made_from(path: Path) -> dict[str, Any]:
    """Return what the fingerprint of a store's signals is made from, told from its record if need be.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    dict of str to Any
        Nested; empty where there is no store, or one of another form.
    """
    record = None if is_store(path) else SkeletonRecord.read(path)
    if record is None and not is_store(path):
        return {}
    attributes = root_attributes(path) if record is None else record.root["attributes"]
    held: dict[str, Any] = attributes["fingerprint"][SIGNALS_PHASE]["made_from"]
    return held


def refuse_other_parameters(path: Path, layout: Layout, fingerprint: Mapping[str, Any]) -> None:
    """Refuse to continue a store with other parameters.

    Parameters
    ----------
    path : Path
        A store, complete or not.
    layout : Layout
        The layout that is asked for.
    fingerprint : Mapping
        The parameters that are asked for.

    Raises
    ------
    FingerprintError
        If fingerprint or layout differ; shows the differences.
    """
    attributes = root_attributes(path)
    held, planned = attributes["layout"], layout.attrs()
    for name in ("relations", "error_bounds", "vocabulary"):  # not in older stores; others settle them
        if name not in held:
            del planned[name]
    action = "Give another --out, or the model, facts and parameters that the store was made with"
    refuse_different(
        path, SIGNALS_PHASE, attributes["fingerprint"][SIGNALS_PHASE], fingerprint, (held, planned), action
    )


def kept_fingerprint(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a store keeps of a fingerprint: its digest, and what the digest is made from.

    Parameters
    ----------
    fingerprint : Mapping
        Nested parameters, JSON only.

    Returns
    -------
    dict
        With the keys ``digest`` and ``made_from``.
    """
    return {"digest": digest(fingerprint), "made_from": dict(fingerprint)}


def refuse_different(
    path: Path,
    phase: str,
    held: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    layouts: tuple[Mapping[str, Any], Mapping[str, Any]],
    action: str,
) -> None:
    """Refuse a phase whose parameters differ from those that are asked for.

    Parameters
    ----------
    path : Path
        The store.
    phase : str
        Name of the phase.
    held : Mapping
        The result of :func:`kept_fingerprint` when the phase was begun.
    fingerprint : Mapping
        The parameters that are asked for.
    layouts : tuple of two Mappings
        The layout of the phase as kept, and as asked for.
    action : str
        Last sentence of the error: what to do.

    Raises
    ------
    FingerprintError
        If fingerprint or layout differ; shows the differences.
    """
    requested = json.loads(canonical(fingerprint))
    lines = differences(held["made_from"], requested) if held["digest"] != digest(requested) else []
    lines = lines or differences({"layout": layouts[0]}, {"layout": layouts[1]})
    if lines:
        got = f"{held['digest'][:12]} ({'; '.join(lines)})"
        what = f"fingerprint of {phase}"
        raise FingerprintError(message(what, got, f"{digest(fingerprint)[:12]}", str(path), action))
