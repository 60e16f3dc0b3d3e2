"""Merge unfinished stores of one fingerprint: the shards of a plan, or what two machines extracted of one.

Units are immutable files with a digest, so that merging copies them. If no unit is missing then, the store
is finalized and has the bytes of a single extraction; so are the phases that shards have parts of.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from qloc.canonical_json import differences
from qloc.errors import FingerprintError, InputError, message
from qloc.store.exchange import shards
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.files.staging import folder_aside, refuse_present
from qloc.store.files.url import local
from qloc.store.integrity.check import complete, layout_of, root_attributes
from qloc.store.integrity.skeleton_record import SkeletonRecord, require_sound
from qloc.store.names import LEDGER, LOCK, UNITS, is_object
from qloc.store.units import ledger
from qloc.store.writing.finalize import finalize_store

_ACTION: Final = "Merge stores that one plan was extracted into"
_FACTS: Final = "facts"
_PLACES: Final = ("model", "facts")


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
    phases : mapping of str to int
        Of each later phase that the stores have parts of: number of units that are missing.
    environment : mapping of str to str
        Versions and device of shards; where they differ, every value, parted by ``|``.
    """

    path: Path
    units: int
    planned: int
    phases: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no unit is missing, of any phase."""
        return self.units == self.planned and not any(self.phases.values())

    @property
    def mixed(self) -> dict[str, str]:
        """What shards differ in of their versions and devices: only alike ones round alike."""
        return {name: value for name, value in self.environment.items() if " | " in value}


def merge(stores: Sequence[str | Path], out: str | Path) -> Merged:
    """Put the units of unfinished stores of one fingerprint into a new store; the stores are not changed.

    Parameters
    ----------
    stores : sequence of str or Path
        At least two. A unit may be in several of them if it has the same bytes in all. Where they are
        shards, they must be all shards of the plan, each once.
    out : str or Path
        Where the new store is to be.

    Returns
    -------
    Merged
        The new store, and how many units it has.

    Raises
    ------
    InputError
        If there are fewer than two stores, or URLs, complete stores, missing or repeated shards, units with
        different contents, or something at ``out``; lists each problem.
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
    if problems := list(shards.shard_problems(paths)):
        raise InputError(problems)
    with ExitStack() as locks:
        for path in paths:
            locks.callback(_held(path).release)
            require_sound(path)
        units = shards.verified_units(paths)
        parts = shards.phase_parts(paths)
        n_missing = len(layouts[0].units) - len(units)
        shards.refuse_phases_without_signals(parts, n_missing)
        run = shards.run_of_all(paths, "signals")
        phases = {}
        with folder_aside(out) as aside:
            _fill(aside, paths[0], units)
            if not n_missing:
                finalize_store(aside, layouts[0], {n: unit for n, (_, unit) in units.items()}, run)
            for part in parts:
                phases[part.phase] = shards.add_phase(aside, part, shards.run_of_all(paths, part.phase))
    return Merged(
        path=out,
        units=len(units),
        planned=len(layouts[0].units),
        phases=phases,
        environment=run.get("environment", {}),
    )


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
    lines = differences(_told_apart_by(root_attributes(first)), _told_apart_by(root_attributes(other)))
    if not lines and _digests(first) != _digests(other):
        lines = ["the arrays of /facts differ"]
    if lines:
        rule = "the same in every store"
        yield message("fingerprint", "; ".join(lines), rule, f"{first} and {other}", _ACTION)


def _told_apart_by(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where model and facts lie, which is no part of a fingerprint: machines have other paths."""
    return {name: value for name, value in attributes.items() if name not in _PLACES}


def _digests(store: Path) -> dict[str, str]:
    folder = Folder(store / _FACTS)
    return {name: folder.digest(name) for name in folder.names() if is_object(f"{_FACTS}/{name}")}


def _held(path: Path) -> Lock:
    lock = Lock.take(path / LEDGER / LOCK, path)
    if lock is None:
        rule = "a store that stays where it is"
        raise InputError(message("store", "moved or completed", rule, str(path), "Run the command again"))
    return lock


def _fill(aside: Path, skeleton: Path, units: dict[int, tuple[Path, ledger.UnitRecord]]) -> None:
    for name in (f"{_FACTS}/{name}" for name in Folder(skeleton / _FACTS).names()):
        if is_object(name):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(skeleton / name, aside / name)
    shutil.copyfile(skeleton / "zarr.json", aside / "zarr.json")
    for name in (UNITS, LEDGER):
        (aside / name).mkdir()
    SkeletonRecord.of(aside).write(aside)
    shards.copy_units(units, aside)
