"""Who holds the lock of what is being written, and knows which of its units count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from qloc.block import Block, PhaseBlock, Unit
from qloc.errors import InputError, message
from qloc.store.files.lock import Lock
from qloc.store.schema.layout import Layout
from qloc.store.units import ledger
from qloc.store.units.ledger import UnitRecord

B = TypeVar("B", Block, PhaseBlock)


class Coordinator(ABC, Generic[B]):
    """A hold on the units of a store, or of a phase that is appended to one; a context manager.

    Attributes
    ----------
    path : the store.
    layout : its tier, sizes and units.
    complete : whether there is nothing left to write.
    """

    def __init__(
        self, path: Path, folder: Path, layout: Layout, lock: Lock | None, records: dict[int, UnitRecord]
    ) -> None:
        self.path, self.layout, self.complete = path, layout, lock is None
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

    def missing(self) -> tuple[Unit, ...]:
        """The units still to be written, in order; none where all is complete."""
        if self.complete:
            return ()
        return tuple(unit for unit in self.layout.units if unit.number not in self._records)

    @abstractmethod
    def _written(self, block: B, notes: Mapping[str, Any] | None) -> UnitRecord:
        """Write a unit's file."""

    @abstractmethod
    def _assemble(self, run: Mapping[str, Any]) -> None:
        """Make the groups of units that are all recorded."""

    def write(self, block: B, *, notes: Mapping[str, Any] | None = None) -> UnitRecord:
        """Write a unit and record it; raises what writing its file and :meth:`record` raise."""
        unit = self._written(block, notes)
        self.record(unit)
        return unit

    def record(self, unit: UnitRecord) -> None:
        """Write a unit's ledger record: from here on it survives whatever happens.

        Raises
        ------
        InputError : its file is not there.
        StorageError : the disk refused.
        """
        ledger.record(self._folder, unit)
        self._records[unit.number] = unit

    def finalize(self, run: Mapping[str, Any] | None = None) -> None:
        """Assemble the arrays and write the manifest; does nothing where all is complete.

        Parameters
        ----------
        run : versions, device, times …: JSON only, for the manifest; never for an array.

        Raises
        ------
        InputError : units are missing.
        VerificationError : unit files have changed since they were recorded, or a manifest is broken.
        StorageError : the disk refused; run again.
        """
        if self.complete:
            return
        if missing := self.missing():
            what, action = "number of missing units", "Write them before finalizing"
            raise InputError(message(what, len(missing), "0", str(self.path), action))
        self._assemble(run or {})
        self.complete = True
        self.close()
