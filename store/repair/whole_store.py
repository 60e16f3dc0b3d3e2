"""Repair: a complete store made again what its manifest says, object by object, bit for bit.

Metadata are in the manifest once more, labels and card follow from the rest, and what is left comes from
the facts and from units: only those of damaged objects are run again, of ``signals`` first, then of the
phases that were chosen from them. A rebuilt object takes its place when it has the sha256 that the manifest
says; numbers of another device do not, unless they are accepted.
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

from qloc.arrays import Array
from qloc.canonical_json import digest
from qloc.errors import InputError, VerificationError, message
from qloc.store.files.durable import storing
from qloc.store.files.lock import Lock
from qloc.store.files.staging import empty, hold
from qloc.store.files.url import local
from qloc.store.integrity import check
from qloc.store.integrity.object_contents import Contents
from qloc.store.names import CARD
from qloc.store.repair.damage import Damage, manifest_of
from qloc.store.repair.phase import SIGNALS, Stage
from qloc.store.schema import manifest
from qloc.store.schema.variables import FACTS
from qloc.store.writing import append, card

_MADE_FOR: Final = "made-for"
_FACTS: Final = FACTS[0].group


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a repair did.

    Attributes
    ----------
    objects : rebuilt, with the bytes that the manifest said.
    accepted : written with other bytes, which a new manifest says.
    units : run again, by number, for each phase that any was run of.
    set_aside : what was no part of the store, by its new path.
    """

    objects: tuple[str, ...]
    accepted: tuple[str, ...]
    units: Mapping[str, tuple[int, ...]]
    set_aside: tuple[Path, ...]


class Repair:
    """A hold on a complete store to be repaired; a context manager, since it holds locks.

    Opening it repairs what the manifest has: metadata, and objects that are no part of the store, which are
    moved to ``STORE.removed``. Then each of its stages is given its units and settled, in order. Whatever
    interrupts it, it can be run again, and units run so far are kept in ``.STORE.repair``.

    Attributes
    ----------
    path : the store.
    layout : its sizes and units.
    facts : whether columns of the facts are damaged: :meth:`put_facts` takes them.
    stages : ``signals``, and the phases that the store has.
    """

    def __init__(self, path: Path, damage: Damage, aside: Path, locks: tuple[Lock, Lock]) -> None:
        self.path, self.layout = path, check.layout_of(path)
        self._damage, self._aside, self._locks = damage, aside, locks
        self._accepted: set[str] = set()
        self._settle_aside()
        self.stages = tuple(Stage(phase, damage, aside) for phase in (SIGNALS, *self.layout.phases))
        self.facts = any(name.startswith(f"{_FACTS}/") for name in self._signals.damaged)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Look for damage, and repair what can be repaired from the manifest alone.

        Raises
        ------
        InputError : the store is a file, or at a URL.
        SchemaError : it is of a newer schema.
        LockedError : another process repairs or writes it.
        VerificationError : the manifest is not readable, so that nothing says what the objects were; or
            metadata are damaged that it does not have.
        StorageError : the disk refused.
        """
        path = local(path, "qloc store repair")
        if path.is_file():
            action = "Take the archive from its source again, or unzip it and repair the folder"
            raise InputError(message("store", "packed", "a folder", str(path), action))
        manifest_of(path)
        aside = path.absolute().parent / f".{path.absolute().name}.repair"
        with storing(path):
            aside.mkdir(exist_ok=True)
            lock = hold(aside, path)
        try:
            appending = append.hold(path)
        except BaseException:
            _give_back(aside, lock)
            raise
        try:
            append.finish_decided(path)
            with storing(path):
                damage = Damage.repaired(path, manifest_of(path))
                append.recover(path)
                return cls(path, damage, aside, (lock, appending))
        except BaseException:
            append.give_back(path, appending)
            _give_back(aside, lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not any(stage.records for stage in self.stages):
            shutil.rmtree(self._aside, ignore_errors=True)
        lock, appending = self._locks
        append.give_back(self.path, appending)
        lock.release()

    @property
    def said(self) -> Mapping[str, Any]:
        """The manifest."""
        return self._damage.said

    @property
    def _signals(self) -> Stage:
        return self.stages[0]

    def put_facts(self, columns: Mapping[str, Array]) -> None:
        """Take the columns of the facts, as :class:`qloc.block.Outline` has them."""
        self._signals.columns = dict(columns)

    def settle(self, stage: Stage, accept: Mapping[str, Any] | None = None) -> None:
        """Rebuild what is damaged of a stage, in the order of the stages, and put it in its place.

        Parameters
        ----------
        accept : what the manifest shall say of this run, JSON only, where rebuilt objects may have other
            bytes than it says; then all arrays of the phase take the rows of these units from this run, so
            that they agree with each other. None: such objects are left, and later phases where they are of
            ``signals``; :meth:`finish` names them.

        Raises
        ------
        VerificationError : units with larger panels than the store's.
        StorageError : the disk refused.
        """
        with storing(self.path):
            try:
                stage.settle(accept=accept is not None)
            except VerificationError:
                shutil.rmtree(self._aside)
                stage.records.clear()
                raise
            if stage is self._signals:
                self._settle_card(accept=accept is not None)
            if accept is not None and stage.other:
                self._seal(stage, accept)

    def finish(self) -> Repaired:
        """Remove what was kept aside, and say what was done.

        Raises
        ------
        VerificationError : objects that could not be rebuilt with the bytes that the manifest says; each.
        StorageError : the disk refused.
        """
        with storing(self.path):
            shutil.rmtree(self._aside)
        if problems := [text for stage in self.stages for text in self._refusals(stage)]:
            raise VerificationError(problems)
        rebuilt = {*self._damage.rebuilt, *(name for stage in self.stages for name in stage.rebuilt)}
        return Repaired(
            objects=tuple(sorted(rebuilt - self._accepted)),
            accepted=tuple(sorted(self._accepted)),
            units={
                stage.phase: tuple(unit.number for unit in stage.needed)
                for stage in self.stages
                if stage.needed
            },
            set_aside=tuple(self._damage.set_aside),
        )

    def _settle_aside(self) -> None:
        """Keep units that an interrupted repair of this store has run already, and nothing else."""
        made_for, attributes = self._aside / _MADE_FOR, check.root_attributes(self.path)
        key = digest([attributes["fingerprint"], attributes["layout"]])
        if not made_for.exists() or made_for.read_text() != key:
            empty(self._aside)
            made_for.write_text(key)

    def _settle_card(self, *, accept: bool) -> None:
        """The card, where all that it tells of is as it should be; later phases wait where it is not."""
        signals, said = self._signals, self._damage.said["objects"]
        if signals.lost or (signals.other and not accept):
            for later in self.stages[1:]:
                later.wait()
            signals.waiting += [CARD] if CARD in self._damage.objects else []
        elif signals.other:
            for later in self.stages[1:]:
                later.forget()
        elif CARD in self._damage.objects:
            content = self._card(said)
            if (made := sha256(content).hexdigest()) == said[CARD]["sha256"]:
                self._damage.place(CARD, content)
                signals.rebuilt.append(CARD)
            else:
                signals.other[CARD] = made

    def _card(self, objects: Mapping[str, Mapping[str, Any]]) -> bytes:
        sizes = {name: int(one["size"]) for name, one in objects.items()}
        return card.text(self.path, self.layout, sizes).encode()

    def _seal(self, stage: Stage, accepted: Mapping[str, Any]) -> None:
        """Write the card and a manifest of the bytes that were accepted, which says so."""
        said = self._damage.said
        objects = {**said["objects"]}
        for name in {*stage.other} - {CARD}:
            objects[name] = _entry((self.path / name).read_bytes())
        if CARD in objects:
            content = self._card(objects)
            self._damage.place(CARD, content)
            objects[CARD] = _entry(content)
        changed = {name for name, one in objects.items() if one != said["objects"][name]}
        self._accepted |= changed
        of_phase = {} if stage is self._signals else {"phase": stage.phase}
        units = [unit.number for unit in stage.needed]
        entry = {**accepted, **of_phase, "objects": sorted(changed), "units": units}
        run = {**said["run"], "repairs": [*said["run"].get("repairs", ()), entry]}
        notes = self._notes(stage)
        self._damage.said = {**said, "notes": notes, "objects": objects, "run": run}
        manifest.replace(self.path, self._damage.said)

    def _notes(self, stage: Stage) -> dict[str, Any]:
        """The notes of units, those of the stage's from this run."""
        prefix = "" if stage is self._signals else f"{stage.phase}/"
        ran = {f"{prefix}{unit.number}": stage.records[unit.number].notes for unit in stage.needed}
        kept = {number: note for number, note in self._damage.said["notes"].items() if number not in ran}
        return kept | {number: dict(note) for number, note in ran.items() if note}

    def _refusals(self, stage: Stage) -> Iterator[str]:
        left = {**dict.fromkeys(stage.lost), **stage.other, **dict.fromkeys(stage.waiting)}
        contents = Contents(self.path)
        for name in sorted(left.keys() - self._accepted):
            said = f"sha256 {self._damage.said['objects'][name]['sha256']}"
            if name in stage.waiting:
                got, action = "damaged", "Repair the objects of signals first, which it follows from"
            elif name in stage.lost:
                got = "lost"
                action = "Take it from the store's source again, or extract into another --out"
            else:
                got = f"sha256 {stage.other[name]} when rebuilt"
                action = "Repair where it was made (the manifest's run says on what), or add --accept"
            yield message(contents.words(name), got, said, str(self.path / name), action)


def _entry(content: bytes) -> dict[str, Any]:
    return {"sha256": sha256(content).hexdigest(), "size": len(content)}


def _give_back(aside: Path, lock: Lock) -> None:
    with suppress(OSError):  # where units are in it, they are kept
        aside.rmdir()
    lock.release()
