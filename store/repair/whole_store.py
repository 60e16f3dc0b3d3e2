"""Repair a complete store, object by object, until its bytes are those that the manifest lists.

The manifest has a copy of all metadata; labels and card follow from the rest; everything else comes from
the facts and from units. Only units of damaged objects are run again: first those of ``signals``, then
those of the phases that were chosen from them. A rebuilt object takes its place if it has the sha256 of the
manifest. Numbers of another device differ in their bytes, and take their place only if they are accepted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
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
from qloc.store.files.own_names import own_folder
from qloc.store.files.staging import empty, hold
from qloc.store.files.url import local
from qloc.store.integrity import check
from qloc.store.integrity.object_contents import Contents
from qloc.store.names import CARD
from qloc.store.repair.damage import Damage, manifest_of
from qloc.store.repair.phase import Stage
from qloc.store.schema import manifest
from qloc.store.schema.variables import FACTS
from qloc.store.writing import append
from qloc.store.writing.card import card_text
from qloc.store.writing.skeleton import SIGNALS_PHASE

_MADE_FOR: Final = "made-for"
_FACTS: Final = FACTS[0].group


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """The result of a repair.

    Attributes
    ----------
    objects : tuple of str
        Objects that were rebuilt with the bytes of the manifest.
    accepted : tuple of str
        Objects that were written with other bytes, which the new manifest lists.
    units : Mapping of str to tuple of int
        Numbers of the units that were run again, by phase.
    set_aside : tuple of Path
        New paths of files that were no part of the store.
    """

    objects: tuple[str, ...]
    accepted: tuple[str, ...]
    units: Mapping[str, tuple[int, ...]]
    set_aside: tuple[Path, ...]


def _parents_first(phases: Iterable[str], fingerprints: Mapping[str, Any]) -> list[str]:
    """Return the phases in an order in which each stands behind those that it was chosen from.

    Only signals, and phases that were chosen from signals alone, are parents.
    """

    def n_parents(phase: str) -> int:
        found: Any = fingerprints
        for name in (phase, "made_from", "parents"):
            found = found.get(name) if isinstance(found, dict) else None
        return len(found) if isinstance(found, dict) else 0

    return sorted(phases, key=n_parents)


class Repair:
    """A hold on a complete store that is to be repaired; a context manager, since it holds locks.

    Opening it repairs what the manifest suffices for: metadata, and files that are no part of the store,
    which are moved to ``STORE.removed``. Then each stage is given its units and settled, in order. An
    interrupted repair can be run again: the units run so far are kept in ``.STORE.repair``.

    Attributes
    ----------
    path : Path
        The store.
    layout : Layout
        Sizes and units of the store.
    facts : bool
        Whether columns of the facts are damaged; then :meth:`put_facts` takes them.
    stages : tuple of Stage
        ``signals``, and the phases that the store has, each behind those that it was chosen from.
    """

    def __init__(self, path: Path, damage: Damage, aside: Path, locks: tuple[Lock, Lock]) -> None:
        self.path, self.layout = path, check.layout_of(path)
        self._damage, self._aside, self._locks = damage, aside, locks
        self._accepted: set[str] = set()
        self._settle_aside()
        phases = _parents_first(self.layout.phases, check.root_attributes(path)["fingerprint"])
        self.stages = tuple(Stage(phase, damage, aside) for phase in (SIGNALS_PHASE, *phases))
        self.facts = any(name.startswith(f"{_FACTS}/") for name in self._signals.damaged)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Look for damage, and repair what can be repaired from the manifest alone.

        Parameters
        ----------
        path : str or Path
            The folder of a complete store.

        Returns
        -------
        Repair
            The hold on the store.

        Raises
        ------
        InputError
            If the store is packed or at a URL.
        SchemaError
            If the store has a newer schema.
        LockedError
            If another process repairs or writes the store.
        VerificationError
            If the manifest is not readable, so that nothing lists the objects, or if damaged metadata are
            not in it.
        StorageError
            If the disk refused.
        """
        path = local(path, "qloc store repair")
        if path.is_file():
            action = "Take the archive from its source again, or unzip it and repair the folder"
            raise InputError(message("store", "packed", "a folder", str(path), action))
        manifest_of(path)
        path = path.resolve()  # a link may be on another file system, and renames stay on one
        aside = path.parent / f".{path.name}.repair"
        with storing(path):
            own_folder(aside)
            lock = hold(aside, path)
        try:
            appending = append.hold_store(path)
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
    def manifest(self) -> Mapping[str, Any]:
        """The manifest, which changes when other bytes are accepted."""
        return self._damage.manifest

    @property
    def _signals(self) -> Stage:
        return self.stages[0]

    def put_facts(self, columns: Mapping[str, Array]) -> None:
        """Take the columns of the facts.

        Parameters
        ----------
        columns : Mapping of str to ndarray
            The columns as :class:`qloc.block.Outline` has them.
        """
        self._signals.columns = dict(columns)

    def settle(self, stage: Stage, accept: Mapping[str, Any] | None = None) -> None:
        """Rebuild the damaged objects of a stage, and put them in their place.

        Call it for each stage, in order.

        Parameters
        ----------
        stage : Stage
            One of :attr:`stages`.
        accept : Mapping, optional
            What the manifest shall say of this run, JSON only, if rebuilt objects may have other bytes than
            it lists. Then all arrays of the phase take the rows of these units from this run, so that they
            agree with each other. By default such objects are left as they are, as are later phases if the
            objects are of ``signals``; :meth:`finish` names them.

        Raises
        ------
        VerificationError
            If units have larger panels than the store.
        StorageError
            If the disk refused.
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
        """Remove the working folder, and return what was done.

        Returns
        -------
        Repaired
            The result of the repair.

        Raises
        ------
        VerificationError
            If objects could not be rebuilt with the bytes of the manifest; names each.
        StorageError
            If the disk refused.
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
        """Keep units that an interrupted repair of this very store has run, and nothing else."""
        made_for, attributes = self._aside / _MADE_FOR, check.root_attributes(self.path)
        key = digest([attributes["fingerprint"], attributes["layout"]])
        if not made_for.exists() or made_for.read_text() != key:
            empty(self._aside)
            made_for.write_text(key)

    def _settle_card(self, *, accept: bool) -> None:
        """Rebuild the card if everything that it describes is restored; otherwise let later phases wait."""
        signals, listed = self._signals, self._damage.manifest["objects"]
        if signals.lost or (signals.other and not accept):
            for later in self.stages[1:]:
                later.wait()
            signals.waiting += [CARD] if CARD in self._damage.objects else []
        elif signals.other:
            for later in self.stages[1:]:
                later.forget()
        elif CARD in self._damage.objects:
            content = self._card(listed)
            if (card_digest := sha256(content).hexdigest()) == listed[CARD]["sha256"]:
                self._damage.place(CARD, content)
                signals.rebuilt.append(CARD)
            else:
                signals.other[CARD] = card_digest

    def _card(self, objects: Mapping[str, Mapping[str, Any]]) -> bytes:
        sizes = {name: int(entry["size"]) for name, entry in objects.items()}
        return card_text(self.path, self.layout, sizes).encode()

    def _seal(self, stage: Stage, accepted: Mapping[str, Any]) -> None:
        """Write the card, and a manifest that lists the accepted bytes and records this run."""
        before = self._damage.manifest
        objects = {**before["objects"]}
        for name in {*stage.other} - {CARD}:
            objects[name] = _entry((self.path / name).read_bytes())
        if CARD in objects:
            content = self._card(objects)
            self._damage.place(CARD, content)
            objects[CARD] = _entry(content)
        changed = {name for name, entry in objects.items() if entry != before["objects"][name]}
        self._accepted |= changed
        of_phase = {} if stage is self._signals else {"phase": stage.phase}
        units = [unit.number for unit in stage.needed]
        entry = {**accepted, **of_phase, "objects": sorted(changed), "units": units}
        run = {**before["run"], "repairs": [*before["run"].get("repairs", ()), entry]}
        notes = self._notes(stage)
        self._damage.manifest = {**before, "notes": notes, "objects": objects, "run": run}
        manifest.replace(self.path, self._damage.manifest)

    def _notes(self, stage: Stage) -> dict[str, Any]:
        """Return the notes of all units, those of the stage from this run."""
        prefix = "" if stage is self._signals else f"{stage.phase}/"
        ran = {f"{prefix}{unit.number}": stage.records[unit.number].notes for unit in stage.needed}
        kept = {number: note for number, note in self._damage.manifest["notes"].items() if number not in ran}
        return kept | {number: dict(note) for number, note in ran.items() if note}

    def _refusals(self, stage: Stage) -> Iterator[str]:
        left = {**dict.fromkeys(stage.lost), **stage.other, **dict.fromkeys(stage.waiting)}
        contents = Contents(self.path)
        for name in sorted(left.keys() - self._accepted):
            expected = f"sha256 {self._damage.manifest['objects'][name]['sha256']}"
            if name in stage.waiting:
                got, action = "damaged", "Repair the objects of signals first, which it follows from"
            elif name in stage.lost:
                got = "lost"
                action = "Take it from the store's source again, or extract into another --out"
            else:
                got = f"sha256 {stage.other[name]} when rebuilt"
                action = "Repair where it was made (the manifest's run says on what), or add --accept"
            yield message(contents.words(name), got, expected, str(self.path / name), action)


def _entry(content: bytes) -> dict[str, Any]:
    return {"sha256": sha256(content).hexdigest(), "size": len(content)}


def _give_back(aside: Path, lock: Lock) -> None:
    with suppress(OSError):  # where units are in it, they are kept
        aside.rmdir()
    lock.release()
