"""The coordinator of a store or phase being written: it holds the lock, and records which units count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from qloc.block import Block, PhaseBlock, Shard, Unit
from qloc.errors import InputError, message
from qloc.store.files.lock import Lock
from qloc.store.schema.layout import Layout
from qloc.store.units import ledger
from qloc.store.units.ledger import UnitRecord
from qloc.store.units.shard_record import note_run

B = TypeVar("B", Block, PhaseBlock)


class Coordinator(ABC, Generic[B]):
    """A hold on the units of a store, or of a phase being appended to one; a context manager.

    Parameters
    ----------
    path : Path
        The store.
    folder : Path
        The folder that has units and ledger: the store, or that of the phase.
    layout : Layout
        Tier, sizes and units.
    lock : Lock or None
        The lock, held; None if all is complete.
    records : dict of int to UnitRecord
        The units recorded so far, by number.
    shard : Shard or None, default None
        The part of the units that is written here; None for all.

    Attributes
    ----------
    path : Path
        The store.
    layout : Layout
        Its tier, sizes and units.
    complete : bool
        Whether nothing is left to write.
    phase : str
        Name of the phase.
    shard : Shard or None
        The part of the units that is written here; None for all.
    """

    phase: str = "signals"

    def __init__(
        self,
        path: Path,
        folder: Path,
        layout: Layout,
        lock: Lock | None,
        records: dict[int, UnitRecord],
        shard: Shard | None = None,
    ) -> None:
        self.path, self.layout, self.complete, self.shard = path, layout, lock is None, shard
        self._folder, self._lock, self._records = folder, lock, records

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units that are written here, in order: those of the shard, or all."""
        return self.layout.units if self.shard is None else self.shard.units(self.layout.units)

    def missing(self) -> tuple[Unit, ...]:
        """Return the units that are still to be written.

        Returns
        -------
        tuple of Unit
            The units, in order; empty if all is complete.
        """
        if self.complete:
            return ()
        return tuple(unit for unit in self.units if unit.number not in self._records)

    @abstractmethod
    def _written(self, block: B, notes: Mapping[str, Any] | None) -> UnitRecord:
        """Write the file of a unit."""

    @abstractmethod
    def _assemble(self, run: Mapping[str, Any]) -> None:
        """Make the groups from the units, all of which are recorded."""

    def write(self, block: B, *, notes: Mapping[str, Any] | None = None) -> UnitRecord:
        """Write a unit and record it; raises what writing its file and :meth:`record` raise.

        Parameters
        ----------
        block : Block or PhaseBlock
            The numbers of the unit.
        notes : mapping, optional
            What a reader should know of the unit, JSON only.

        Returns
        -------
        UnitRecord
            The record.
        """
        unit = self._written(block, notes)
        self.record(unit)
        return unit

    def record(self, unit: UnitRecord) -> None:
        """Write the ledger record of a unit: from here on the unit survives whatever happens.

        Parameters
        ----------
        unit : UnitRecord
            The unit, whose file is written.

        Raises
        ------
        InputError
            Its file does not exist.
        StorageError
            The disk refused.
        """
        ledger.record(self._folder, unit)
        self._records[unit.number] = unit

    def finalize(self, run: Mapping[str, Any] | None = None) -> None:
        """Assemble the arrays, write the manifest and release the lock; do nothing if all is complete.

        The store of a shard stays unfinished: it is only noted what ran its units.

        Parameters
        ----------
        run : mapping, optional
            Versions, device, times and the like, JSON only; written to the manifest, never to an array.

        Raises
        ------
        InputError
            Units are missing.
        VerificationError
            Unit files have changed since they were recorded, or a manifest is broken.
        StorageError
            The disk refused; run again.
        """
        if self.complete:
            return
        if missing := self.missing():
            what, action = "number of missing units", "Write them before finalizing"
            raise InputError(message(what, len(missing), "0", str(self.path), action))
        if self.shard is None:
            self._assemble(run or {})
        else:
            note_run(self.path, self.phase, run or {})
        self.complete = True
        self.close()
