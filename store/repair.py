"""Repair: a complete store made again what its manifest says, object by object, bit for bit.

Metadata are in the manifest once more, labels and card follow from the rest, and what is left comes from the
facts and from units: only those of damaged objects are extracted again. A rebuilt object takes its place when
it has the sha256 that the manifest says; numbers of another device do not, unless they are accepted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from qloc.block import Array, Block, Unit
from qloc.canonical import digest
from qloc.errors import InputError, VerificationError, message
from qloc.store import card, check, ledger, manifest, rebuilding
from qloc.store.aside import empty, hold
from qloc.store.contents import Contents, Region
from qloc.store.damage import Damage
from qloc.store.durable import storing
from qloc.store.lock import Lock
from qloc.store.panel import unit_arrays
from qloc.store.schema import FACTS, fact_column, typed

_MADE_FOR: Final = "made-for"
_FACTS: Final = FACTS[0].group
_OF_UNITS: Final = ("queries", "signals", "attention", "grams")
"""Groups whose rows come from one unit of the signals each; sums over units and later phases do not."""


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a repair did.

    Attributes
    ----------
    objects : rebuilt, with the bytes that the manifest said.
    accepted : written with other bytes, which a new manifest says.
    units : extracted again, by number.
    set_aside : what was no part of the store, by its new path.
    """

    objects: tuple[str, ...]
    accepted: tuple[str, ...]
    units: tuple[int, ...]
    set_aside: tuple[Path, ...]


class Repair:
    """A hold on a complete store to be repaired; a context manager, since it holds a lock.

    Opening it repairs what needs neither facts nor a model: metadata, labels, and objects that are no part of
    the store, which are moved to ``STORE.removed``. Whatever interrupts it, it can be run again, and units
    extracted so far are kept in ``.STORE.repair``.

    Attributes
    ----------
    path : the store.
    facts : whether columns of the facts are damaged: :meth:`put_facts` takes them.
    units : those to be extracted again: :meth:`put` takes them.
    """

    def __init__(self, path: Path, damage: Damage, aside: Path, lock: Lock) -> None:
        self.path, self.layout = path, check.layout_of(path)
        self._damage, self._aside, self._lock = damage, aside, lock
        self._contents = Contents(path)
        self._columns: dict[str, Array] = {}
        self._rebuilt: list[str] = []
        self._other: dict[str, str] = {}
        self._lost: list[str] = []
        self._settle_labels()
        self.facts = any(name.startswith(f"{_FACTS}/") for name in damage.objects)
        needed = {unit for name in damage.objects for unit in self._units(name)}
        self._needed = tuple(sorted(needed, key=lambda unit: unit.number))
        self._records = self._resumed()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Look for damage, and repair what can be repaired from the store alone.

        Raises
        ------
        InputError : the store is a file.
        SchemaError : it is of a newer schema.
        LockedError : another process repairs or writes it.
        VerificationError : the manifest is not readable, so that nothing says what the objects were; or
            metadata are damaged that it does not have.
        StorageError : the disk refused.
        """
        path = Path(path)
        if path.is_file():
            action = "Take the archive from its source again, or unzip it and repair the folder"
            raise InputError(message("store", "packed", "a folder", str(path), action))
        said = _manifest(path)
        aside = path.absolute().parent / f".{path.absolute().name}.repair"
        with storing(path):
            aside.mkdir(exist_ok=True)
            lock = hold(aside, path)
        try:
            with storing(path):
                return cls(path, Damage.repaired(path, said), aside, lock)
        except BaseException:
            with suppress(OSError):  # where units are in it, they are kept
                aside.rmdir()
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._records:
            shutil.rmtree(self._aside, ignore_errors=True)
        self._lock.release()

    @property
    def units(self) -> tuple[Unit, ...]:
        """Units that are still to be extracted again, in order."""
        return tuple(unit for unit in self._needed if unit.number not in self._records)

    def put_facts(self, columns: Mapping[str, Array]) -> None:
        """Take the columns of the facts, as :class:`qloc.block.Outline` has them."""
        self._columns = dict(columns)

    def put(self, block: Block) -> None:
        """Take a unit that was extracted again, and keep it until the repair is done.

        Raises
        ------
        InputError, ModelError, StorageError : as for :func:`qloc.store.write.write_unit`.
        """
        arrays = unit_arrays(block, self.layout)
        record = ledger.write_arrays(self._aside, block.unit.number, arrays, {})
        ledger.record(self._aside, record)
        self._records[record.number] = record

    def finish(self, accept: Mapping[str, Any] | None = None) -> Repaired:
        """Rebuild what is damaged, and put it in its place.

        Parameters
        ----------
        accept : what the manifest shall say of this run, JSON only, where rebuilt objects may have other
            bytes than it says; then all arrays take the rows of these units from this run, so that they
            agree with each other. None: such objects are refused.

        Raises
        ------
        VerificationError : objects have other bytes than the manifest says when they are rebuilt; each.
        StorageError : the disk refused.
        """
        with storing(self.path):
            self._require_slots()
            for name in self._damage.objects:
                if name not in (*self._rebuilt, card.CARD):
                    self._settle(name)
            if self._other and accept is not None:
                self._agree()
            if not self._other or accept is not None:
                self._settle_card(changed=bool(self._other))
            if self._other and accept is not None:
                self._seal(accept)
            shutil.rmtree(self._aside)
        if self._lost or (self._other and accept is None):
            raise VerificationError(self._refusals())
        return Repaired(
            objects=tuple(sorted({*self._damage.rebuilt, *self._rebuilt})),
            accepted=tuple(sorted(self._other)),
            units=tuple(unit.number for unit in self._needed),
            set_aside=tuple(self._damage.set_aside),
        )

    def _resumed(self) -> dict[int, ledger.UnitRecord]:
        """Units that an interrupted repair of this store has extracted already."""
        made_for, attributes = self._aside / _MADE_FOR, check.root_attributes(self.path)
        key = digest([attributes["fingerprint"], attributes["layout"]])
        if not made_for.exists() or made_for.read_text() != key:
            empty(self._aside)
            made_for.write_text(key)
        for name in (ledger.UNITS, ledger.LEDGER):
            (self._aside / name).mkdir(exist_ok=True)
        return ledger.sweep(self._aside)

    def _require_slots(self) -> None:
        try:
            rebuilding.require_slots(self.path, self._records.values())
        except VerificationError:
            shutil.rmtree(self._aside)
            raise

    def _settle_labels(self) -> None:
        """Rebuild the names of the attribution methods, which the layout has."""
        for name in tuple(self._damage.objects):
            variable = self._contents.variable(name)
            if variable is not None and self.layout.labels(variable) is not None:
                self._settle(name)

    def _units(self, name: str) -> tuple[Unit, ...]:
        """The units that an object is rebuilt from."""
        return self._contents.units(name) if name.partition("/")[0] in _OF_UNITS else ()

    def _settle(self, name: str, *, anew: set[Unit] | None = None, any_bytes: bool = False) -> None:
        """Rebuild a piece of an array, and put it in its place if it has the bytes that it should have.

        Parameters
        ----------
        anew : the units whose rows it takes, keeping its others; None: it takes all of its rows.
        any_bytes : put it in its place whatever bytes it has.
        """
        region = self._contents.region(name)
        values = None if region is None else self._cells(name, region, anew)
        if region is None or values is None:
            self._lost.append(name)
            return
        made = rebuilding.write_object(self.path, self._aside / "arrays", name, region, values)
        self._put(name, made.read_bytes() if made.exists() else b"", any_bytes=any_bytes)

    def _put(self, name: str, content: bytes, *, any_bytes: bool) -> None:
        made = sha256(content).hexdigest()
        expected = made == self._sha256(name)
        if expected or any_bytes:
            self._damage.place(name, content)
        if not expected:
            self._other[name] = made
        elif name in self._damage.objects:
            self._rebuilt.append(name)

    def _sha256(self, name: str) -> str:
        return str(self._damage.said["objects"][name]["sha256"])

    def _cells(self, name: str, region: Region, anew: set[Unit] | None) -> Array | None:
        variable, column = self._contents.variable(name), name.split("/")[1]
        if name.startswith(f"{_FACTS}/"):
            if column not in self._columns:
                return None
            values = self._columns[column]
            return typed(values, fact_column(column, values).dtype)[region]
        labels = None if variable is None else self.layout.labels(variable)
        if labels is not None:
            return np.array([*labels, None], dtype=object)[:-1][region]
        if variable is None or variable.row is None or variable.group not in _OF_UNITS:
            return None
        units = {
            unit: self._records[unit.number] for unit in self._units(name) if anew is None or unit in anew
        }
        keep = anew is not None
        return rebuilding.cells_of_units(self.path, self._aside, variable, region, units, keep=keep)

    def _agree(self) -> None:
        """Let every array take the units whose numbers differ from this run: arrays agree with each other."""
        units = {unit for name in self._other for unit in self._units(name)}
        for name in self._damage.said["objects"]:
            if name in self._other:
                self._settle(name, any_bytes=True)
            elif units.intersection(self._units(name)):
                self._settle(name, anew=units, any_bytes=True)

    def _settle_card(self, *, changed: bool) -> None:
        if card.CARD in self._damage.objects or (changed and card.CARD in self._damage.said["objects"]):
            self._put(card.CARD, card.text(self.path, self.layout).encode(), any_bytes=changed)

    def _refusals(self) -> Iterator[str]:
        for name in sorted({*self._lost, *self._other}):
            if name in self._lost:
                got, action = (
                    "lost",
                    "Take it from the store's source again, or extract into another --out",
                )
            else:
                got = f"sha256 {self._other[name]} when rebuilt"
                action = "Repair where it was made (the manifest's run says on what), or add --accept"
            where, said = str(self.path / name), f"sha256 {self._sha256(name)}"
            yield message(self._contents.words(name), got, said, where, action)

    def _seal(self, accepted: Mapping[str, Any]) -> None:
        """Write a manifest of the bytes that were accepted, which says so."""
        said, found = self._damage.said, {}
        for name in self._other:
            content = (self.path / name).read_bytes()
            found[name] = {"sha256": sha256(content).hexdigest(), "size": len(content)}
        units = [unit.number for unit in self._needed]
        entry = {**accepted, "objects": sorted(found), "units": units}
        run = {**said["run"], "repairs": [*said["run"].get("repairs", ()), entry]}
        manifest.replace(self.path, {**said, "objects": {**said["objects"], **found}, "run": run})


def _manifest(path: Path) -> dict[str, Any]:
    try:
        return manifest.read(path)
    except VerificationError as error:
        rule = "readable: it alone says what the other objects were, so nothing can be repaired without it"
        action = "Take manifest.json from a copy, an archive or an export of this store, or extract again"
        text = message("manifest", "damaged", rule, str(path / manifest.MANIFEST), action)
        raise VerificationError((*error.problems, text)) from None
