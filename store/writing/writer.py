"""Writer: makes a store's skeleton or resumes it, records its units, and finalizes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from qloc.arrays import Array
from qloc.block import Block, Outline
from qloc.store.files.durable import storing
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.integrity.check import complete, is_store, layout_of, root_attributes
from qloc.store.names import LEDGER, LOCK
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import Tier
from qloc.store.schema.versions import refuse_older
from qloc.store.units import ledger
from qloc.store.units.activation_sums import unit_sums
from qloc.store.units.coordinator import Coordinator
from qloc.store.units.ledger import UnitRecord
from qloc.store.units.panel import unit_arrays
from qloc.store.writing import append, skeleton
from qloc.store.writing.finalize import finalize, remove_working


def write_unit(path: str | Path, block: Block, *, notes: Mapping[str, Any] | None = None) -> UnitRecord:
    """Write one unit's immutable file; may run in any process that sees the store, and needs no lock.

    Parameters
    ----------
    path : the store, as given to :meth:`Writer.open`.
    notes : what a reader should know of this unit, JSON only, besides the block's own; kept in the manifest.

    Returns
    -------
    UnitRecord : to be handed to :meth:`Writer.record`; until then the unit does not count.

    Raises
    ------
    InputError : the block is not what the outline says; every problem.
    ModelError : an attribution is not finite.
    StorageError : the disk refused.
    """
    arrays = signal_arrays(block, layout_of(path))
    return ledger.write_arrays(Path(path), block.unit.number, arrays, {**block.notes, **(notes or {})})


def signal_arrays(block: Block, layout: Layout) -> dict[str, Array]:
    """What a unit puts into its file, under the paths and dtypes of the schema.

    Raises
    ------
    InputError : the block is not what the outline says; every problem.
    ModelError : an attribution is not finite.
    """
    layout = layout.of_signals
    return {**unit_arrays(block, layout), **unit_sums(block, layout)}


class Writer(Coordinator[Block]):
    """The coordinator's hold on a store; a context manager, since it holds a lock.

    Attributes
    ----------
    path : the store.
    layout : its tier, sizes and units.
    complete : whether it has a valid manifest; then there is nothing left to write.
    """

    def __init__(self, path: Path, layout: Layout, lock: Lock | None, records: dict[int, UnitRecord]) -> None:
        super().__init__(path, path, layout, lock, records)

    @classmethod
    def open(
        cls,
        path: str | Path,
        outline: Outline,
        fingerprint: Mapping[str, Any],
        *,
        tier: Tier = "panel",
        floor: float = 0.05,
        capacity: int = 1024,
        store_dtype: str = "float32",
    ) -> Self:
        """Make the skeleton of a store, or take up one of the same fingerprint where it was left.

        Parameters
        ----------
        fingerprint : what the phase's digest is made from, nested, JSON only.

        Raises
        ------
        InputError : the path is something else than a store, or a parameter is wrong.
        SchemaError : the store is of a newer schema, or an unfinished one of an older.
        FingerprintError : the store is of other parameters; shows where they differ.
        LockedError : another process writes it.
        VerificationError : it has a manifest that is broken.
        StorageError : the disk refused.
        """
        path = Path(path)
        layout = Layout.of(outline, tier=tier, floor=floor, capacity=capacity, store_dtype=store_dtype)
        while True:
            skeleton.refuse_other(path)
            if not is_store(path):
                lock = skeleton.make(path, outline, layout, fingerprint)
            elif complete(path):
                return cls._reopened(path, layout, fingerprint)
            else:
                lock = Lock.take(path / LEDGER / LOCK, path)
            if lock is not None:
                return cls._resumed(path, layout, fingerprint, lock)

    @classmethod
    def _reopened(cls, path: Path, layout: Layout, fingerprint: Mapping[str, Any]) -> Self:
        manifest.read(path)
        skeleton.refuse_other_parameters(path, layout, fingerprint)
        append.tidy(path)
        if (path / LEDGER).exists() and (lock := Lock.take(path / LEDGER / LOCK, path)):
            with storing(path):
                remove_working(path)
            lock.release()
        return cls(path, layout_of(path), None, {})

    @classmethod
    def _resumed(cls, path: Path, layout: Layout, fingerprint: Mapping[str, Any], lock: Lock) -> Self:
        try:
            refuse_older(root_attributes(path), Folder(path))
            skeleton.refuse_other_parameters(path, layout, fingerprint)
            return cls(path, layout_of(path), lock, ledger.sweep(path))
        except BaseException:
            lock.release()
            raise

    def _written(self, block: Block, notes: Mapping[str, Any] | None) -> UnitRecord:
        return write_unit(self.path, block, notes=notes)

    def _assemble(self, run: Mapping[str, Any]) -> None:
        finalize(self.path, self.layout, self._records, run)
