"""Write a store: ``Writer`` makes its skeleton or resumes it, records its units, and finalizes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from qloc.arrays import Array
from qloc.block import Block, Outline, Shard
from qloc.errors import InputError, message
from qloc.store.files.durable import storing
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.integrity.check import complete, is_store, layout_of, root_attributes
from qloc.store.integrity.skeleton_record import begun_layout
from qloc.store.names import LEDGER, LOCK, ROOT, UNITS
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import Tier
from qloc.store.schema.versions import refuse_older
from qloc.store.units import ledger
from qloc.store.units.activation_sums import unit_sums
from qloc.store.units.coordinator import Coordinator
from qloc.store.units.ledger import UnitRecord
from qloc.store.units.neuron_tokens import unit_tokens
from qloc.store.units.panel import unit_arrays
from qloc.store.units.shard_record import settle_shard
from qloc.store.writing import append, skeleton
from qloc.store.writing.finalize import finalize_store, remove_working


def write_unit(path: str | Path, block: Block, *, notes: Mapping[str, Any] | None = None) -> UnitRecord:
    """Write the immutable file of one unit.

    This may run in any process that sees the store, and needs no lock.

    Parameters
    ----------
    path : str or Path
        The store, as given to :meth:`Writer.open`.
    block : Block
        The numbers of the unit.
    notes : Mapping, optional
        What a reader should know of this unit, JSON only, besides the block's own notes. The manifest keeps
        them.

    Returns
    -------
    UnitRecord
        Hand it to :meth:`Writer.record`; until then the unit does not count.

    Raises
    ------
    InputError
        If the block does not match its outline; lists each problem.
    ModelError
        If an attribution is not finite.
    VerificationError
        If the metadata of the store's root were damaged since it was begun.
    StorageError
        If the disk refused.
    """
    arrays = signal_arrays(block, begun_layout(Path(path)))
    return ledger.write_arrays(Path(path), block.unit.number, arrays, {**block.notes, **(notes or {})})


def signal_arrays(block: Block, layout: Layout) -> dict[str, Array]:
    """Return the arrays of a unit's file, under the paths and dtypes of the schema.

    Parameters
    ----------
    block : Block
        The numbers of the unit.
    layout : Layout
        The layout of the store; its appended phases are ignored.

    Returns
    -------
    dict of str to ndarray
        The arrays by their path, and the unit's share of /statistics and /neurons.

    Raises
    ------
    InputError
        If the block does not match its outline; lists each problem.
    ModelError
        If an attribution is not finite.
    """
    layout = layout.of_signals
    return {**unit_arrays(block, layout), **unit_sums(block, layout), **unit_tokens(block, layout)}


class Writer(Coordinator[Block]):
    """The hold of one process on a store; a context manager, since it holds a lock.

    Attributes
    ----------
    path : Path
        The store.
    layout : Layout
        Tier, sizes and units of the store.
    complete : bool
        Whether the store has a valid manifest; then nothing is left to write.
    restored : list of str
        Names of objects, none of them units, that were damaged and written again.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        lock: Lock | None,
        records: dict[int, UnitRecord],
        restore: Callable[[], tuple[str, ...]] = tuple,
        restored: tuple[str, ...] = (),
        shard: Shard | None = None,
    ) -> None:
        super().__init__(path, path, layout, lock, records, shard)
        self._restore, self.restored = restore, [*restored]

    @classmethod
    def open(
        cls,
        path: str | Path,
        outline: Outline,
        fingerprint: Mapping[str, Any],
        *,
        tier: Tier = "panel",
        floor: float = 0.05,
        capacity: int = 4096,
        store_dtype: str = "float32",
        shard: Shard | None = None,
    ) -> Self:
        """Make the skeleton of a store, or resume a store of the same fingerprint where it was left.

        Parameters
        ----------
        path : str or Path
            Where the store is or is to be.
        outline : Outline
            Facts, sizes, units and attributes of the study.
        fingerprint : Mapping
            Nested parameters that the digest of ``signals`` is made from, JSON only.
        tier : {"panel", "dense"}
            Whether to keep the neurons of each fact's panel, or every neuron.
        floor : float
            In the panel tier, the share of a query's maximum from which a neuron is kept, in [0, 1).
        capacity : int
            Most neurons that the panel of one fact keeps.
        store_dtype : {"float32", "float64"}
            Floating type of the stored signals.
        shard : Shard or None
            The part of the units that is written to this store, which then stays unfinished; None for all.

        Returns
        -------
        Writer
            The hold on the store.

        Raises
        ------
        InputError
            If the path holds something other than a store, or the store of another shard, or a parameter is
            out of its domain.
        SchemaError
            If the store has a newer schema, or is unfinished and has an older one.
        FingerprintError
            If the store has other parameters; shows the differences.
        LockedError
            If another process writes the store.
        VerificationError
            If the store has a broken manifest.
        StorageError
            If the disk refused.
        """
        path = Path(path)
        layout = Layout.of(outline, tier=tier, floor=floor, capacity=capacity, store_dtype=store_dtype)
        mended = False
        while True:
            mended |= skeleton.mend_root(path)
            skeleton.refuse_other(path)
            if not is_store(path):
                lock = skeleton.make_skeleton(path, outline, layout, fingerprint)
            elif complete(path):
                return cls._reopened(path, layout, fingerprint, shard)
            else:
                if (path / UNITS).is_dir():  # else another process has completed it meanwhile
                    (path / LEDGER).mkdir(exist_ok=True)
                lock = Lock.take(path / LEDGER / LOCK, path)
            if lock is not None and is_store(path) and complete(path):
                lock.release()  # completed since it was looked at: nothing of it may be made again
                continue
            if lock is not None:
                writer = cls._resumed(path, outline, layout, fingerprint, lock, shard)
                writer.restored += [ROOT] if mended else []
                return writer

    @classmethod
    def _reopened(
        cls, path: Path, layout: Layout, fingerprint: Mapping[str, Any], shard: Shard | None
    ) -> Self:
        manifest.read(path)
        skeleton.refuse_other_parameters(path, layout, fingerprint)
        if shard is not None:
            rule, action = f"the store of shard {shard}, or nothing yet", "Give another --out"
            raise InputError(message("store", "complete", rule, str(path), action))
        append.tidy(path)
        if (path / LEDGER).exists() and (lock := Lock.take(path / LEDGER / LOCK, path)):
            with storing(path):
                remove_working(path)
            lock.release()
        return cls(path, layout_of(path), None, {})

    @classmethod
    def _resumed(
        cls,
        path: Path,
        outline: Outline,
        layout: Layout,
        fingerprint: Mapping[str, Any],
        lock: Lock,
        shard: Shard | None,
    ) -> Self:
        try:
            refuse_older(root_attributes(path), Folder(path))
            skeleton.refuse_other_parameters(path, layout, fingerprint)
            restore = partial(skeleton.restore, path, outline, fingerprint)
            restored = restore()
            records = ledger.sweep(path)
            settle_shard(path, shard, records)
            return cls(path, layout_of(path), lock, records, restore, restored, shard)
        except BaseException:
            lock.release()
            raise

    def _written(self, block: Block, notes: Mapping[str, Any] | None) -> UnitRecord:
        return write_unit(self.path, block, notes=notes)

    def _assemble(self, run: Mapping[str, Any]) -> None:
        self.restored += self._restore()
        finalize_store(self.path, self.layout, self._records, run)
