"""Merge unfinished stores of one fingerprint, such as two machines extracted of one plan.

Units are immutable files with a digest, so that merging copies them. If no unit is missing then, the store
is finalized and has the bytes of a single extraction.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qloc.canonical_json import differences
from qloc.errors import FingerprintError, InputError, VerificationError, message
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.files.staging import folder_aside, refuse_present
from qloc.store.files.url import local
from qloc.store.integrity.check import complete, layout_of, root_attributes
from qloc.store.integrity.skeleton_record import SkeletonRecord, require_sound
from qloc.store.names import LEDGER, LOCK, UNITS, is_object
from qloc.store.schema.layout import Layout
from qloc.store.units import ledger
from qloc.store.writing.finalize import finalize_store

_ACTION: Final = "Merge stores that one plan was extracted into"
_FACTS: Final = "facts"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The result of merging.

    Attributes
    ----------
    path : Path
        The new store.
    units : int
        Number of units that it has.
    planned : int
        Number of units that were planned.
    """

    path: Path
    units: int
    planned: int

    @property
    def complete(self) -> bool:
        """Whether no unit is missing."""
        return self.units == self.planned


def merge(stores: Sequence[str | Path], out: str | Path) -> Merged:
    """Put the units of unfinished stores of one fingerprint into a new store; the stores are not changed.

    Parameters
    ----------
    stores : sequence of str or Path
        At least two. A unit may be in several of them if it has the same bytes in all.
    out : str or Path
        Where the new store is to be.

    Returns
    -------
    Merged
        The new store, and how many units it has.

    Raises
    ------
    InputError
        If there are fewer than two stores, or URLs, complete stores, units with different contents, or
        something at ``out``; lists each problem.
    SchemaError
        If a path is no store.
    FingerprintError
        If the stores are of different models, facts or parameters; shows the differences.
    LockedError
        If another process writes one of the stores.
    VerificationError
        If a unit file changed while it was copied, or a store is damaged besides its units; names each
        object.
    StorageError
        If the disk refused; nothing is left.
    """
    paths, out = [local(store, "qloc store merge") for store in stores], local(out, "qloc store merge")
    refuse_present(out)
    layouts = [layout_of(path) for path in paths]
    if problems := list(_unusable(paths)):
        raise InputError(problems)
    if problems := [text for path in paths[1:] for text in _different(paths[0], path)]:
        raise FingerprintError(problems)
    with ExitStack() as locks:
        for path in paths:
            locks.callback(_held(path).release)
            require_sound(path)
        units = _units(paths)
        with folder_aside(out) as aside:
            _fill(aside, paths[0], units)
            if len(units) == len(layouts[0].units):
                _finish(aside, layouts[0], units, len(paths))
    return Merged(path=out, units=len(units), planned=len(layouts[0].units))


def _unusable(paths: Sequence[Path]) -> Iterator[str]:
    if len(paths) < 2:
        yield message("number of stores", len(paths), "two or more", "qloc store merge", "Give more stores")
    for path in paths:
        if not path.is_dir():
            yield message("store", "packed", "an unfinished store's folder", str(path), "Leave it out")
        elif complete(path):
            rule = "an unfinished store, with units that others lack"
            action = "Use it as it is: it lacks nothing"
            yield message("store", "complete", rule, str(path), action)


def _different(first: Path, other: Path) -> Iterator[str]:
    """Yield the differences between the skeletons of two stores."""
    lines = differences(root_attributes(first), root_attributes(other))
    if not lines and _digests(first) != _digests(other):
        lines = ["the arrays of /facts differ"]
    if lines:
        rule = "the same in every store"
        yield message("fingerprint", "; ".join(lines), rule, f"{first} and {other}", _ACTION)


def _digests(store: Path) -> dict[str, str]:
    folder = Folder(store / _FACTS)
    return {name: folder.digest(name) for name in folder.names() if is_object(f"{_FACTS}/{name}")}


def _held(path: Path) -> Lock:
    lock = Lock.take(path / LEDGER / LOCK, path)
    if lock is None:
        rule = "a store that stays where it is"
        raise InputError(message("store", "moved or completed", rule, str(path), "Run the command again"))
    return lock


def _units(paths: Sequence[Path]) -> dict[int, tuple[Path, ledger.UnitRecord]]:
    """Return the units that verify, by number, with the store that each is in."""
    units: dict[int, tuple[Path, ledger.UnitRecord]] = {}
    problems = []
    for path in paths:
        for unit in ledger.records(path):
            where, record = units.setdefault(unit.number, (path, unit))
            if record.sha256 != unit.sha256:
                got = f"different in both, sha256 {record.sha256[:12]} and {unit.sha256[:12]}"
                rule, action = (
                    "in one store, or the same in both",
                    "Remove its record from one ledger",
                )
                problems.append(message(f"unit {unit.number}", got, rule, f"{where} and {path}", action))
    if problems:
        raise InputError(problems)
    return units


def _fill(aside: Path, skeleton: Path, units: dict[int, tuple[Path, ledger.UnitRecord]]) -> None:
    for name in (f"{_FACTS}/{name}" for name in Folder(skeleton / _FACTS).names()):
        if is_object(name):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(skeleton / name, aside / name)
    shutil.copyfile(skeleton / "zarr.json", aside / "zarr.json")
    for name in (UNITS, LEDGER):
        (aside / name).mkdir()
    SkeletonRecord.of(aside).write(aside)
    for path, unit in units.values():
        shutil.copyfile(path / UNITS / unit.file, aside / UNITS / unit.file)
        if not ledger.verifies(aside, unit):
            where, action = str(path / UNITS), "Run the command again"
            text = message("unit file", unit.file, f"sha256 {unit.sha256}", where, action)
            raise VerificationError(text)
        ledger.record(aside, unit)


def _finish(
    aside: Path, layout: Layout, units: dict[int, tuple[Path, ledger.UnitRecord]], n_stores: int
) -> None:
    records = {number: unit for number, (_, unit) in units.items()}
    finalize_store(aside, layout, records, {"merged stores": n_stores})
