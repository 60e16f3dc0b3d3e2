"""Several unfinished stores of one fingerprint into one: what two machines extracted of one plan.

Units are immutable files with a digest, so that merging is copying them; where none is missing then, the
store is finalized and has the bytes of an extraction in one go.
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
from qloc.store.names import LEDGER, LOCK, UNITS
from qloc.store.schema.layout import Layout
from qloc.store.units import ledger
from qloc.store.writing.finalize import finalize

_ACTION: Final = "Merge stores that one plan was extracted into"
_FACTS: Final = "facts"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What merging made.

    Attributes
    ----------
    path : the store.
    units : how many it has, of ``planned``; complete where they are equal.
    """

    path: Path
    units: int
    planned: int

    @property
    def complete(self) -> bool:
        """Whether no unit is missing."""
        return self.units == self.planned


def merge(stores: Sequence[str | Path], out: str | Path) -> Merged:
    """Put the units of unfinished stores of one fingerprint into a new store; the stores stay as they are.

    Parameters
    ----------
    stores : at least two. A unit may be in several where it has the same bytes in all.

    Raises
    ------
    InputError : fewer than two stores, URLs, complete ones, units with different contents, or something at
        ``out``; every problem.
    SchemaError : a path is no store.
    FingerprintError : the stores are of different models, facts or parameters; shows where they differ.
    LockedError : another process writes one of them.
    VerificationError : a unit file changed while it was copied.
    StorageError : the disk refused; nothing is left.
    """
    paths, out = [local(store, "qloc store merge") for store in stores], local(out, "qloc store merge")
    refuse_present(out)
    layouts = [layout_of(path) for path in paths]
    if problems := list(_unusable(paths)):
        raise InputError(problems)
    if problems := [text for path in paths[1:] for text in _different(paths[0], path)]:
        raise FingerprintError(problems)
    with ExitStack() as held:
        for path in paths:
            held.callback(_held(path).release)
        found = _units(paths)
        with folder_aside(out) as aside:
            _fill(aside, paths[0], found)
            if len(found) == len(layouts[0].units):
                _finish(aside, layouts[0], found, len(paths))
    return Merged(path=out, units=len(found), planned=len(layouts[0].units))


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
    """Where the skeletons of two stores differ."""
    lines = differences(root_attributes(first), root_attributes(other))
    if not lines and _digests(first) != _digests(other):
        lines = ["the arrays of /facts differ"]
    if lines:
        rule = "the same in every store"
        yield message("fingerprint", "; ".join(lines), rule, f"{first} and {other}", _ACTION)


def _digests(store: Path) -> dict[str, str]:
    folder = Folder(store / _FACTS)
    return {name: folder.digest(name) for name in folder.names()}


def _held(path: Path) -> Lock:
    lock = Lock.take(path / LEDGER / LOCK, path)
    if lock is None:
        rule = "a store that stays where it is"
        raise InputError(message("store", "moved or completed", rule, str(path), "Run the command again"))
    return lock


def _units(paths: Sequence[Path]) -> dict[int, tuple[Path, ledger.UnitRecord]]:
    """The units that verify, by number, with the store that each is in."""
    found: dict[int, tuple[Path, ledger.UnitRecord]] = {}
    problems = []
    for path in paths:
        for unit in ledger.records(path):
            where, known = found.setdefault(unit.number, (path, unit))
            if known.sha256 != unit.sha256:
                got = f"different in both, sha256 {known.sha256[:12]} and {unit.sha256[:12]}"
                rule, action = (
                    "in one store, or the same in both",
                    "Remove its record from one ledger",
                )
                problems.append(message(f"unit {unit.number}", got, rule, f"{where} and {path}", action))
    if problems:
        raise InputError(problems)
    return found


def _fill(aside: Path, skeleton: Path, found: dict[int, tuple[Path, ledger.UnitRecord]]) -> None:
    shutil.copytree(skeleton / _FACTS, aside / _FACTS)
    shutil.copyfile(skeleton / "zarr.json", aside / "zarr.json")
    for name in (UNITS, LEDGER):
        (aside / name).mkdir()
    for path, unit in found.values():
        shutil.copyfile(path / UNITS / unit.file, aside / UNITS / unit.file)
        if not ledger.verifies(aside, unit):
            where, action = str(path / UNITS), "Run the command again"
            text = message("unit file", unit.file, f"sha256 {unit.sha256}", where, action)
            raise VerificationError(text)
        ledger.record(aside, unit)


def _finish(
    aside: Path, layout: Layout, found: dict[int, tuple[Path, ledger.UnitRecord]], n_stores: int
) -> None:
    records = {number: unit for number, (_, unit) in found.items()}
    finalize(aside, layout, records, {"merged stores": n_stores})
