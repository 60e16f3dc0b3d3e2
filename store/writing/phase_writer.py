"""Write a phase into a complete store: ``PhaseWriter`` begins or resumes it, and appends it at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline, Shard, Unit
from qloc.errors import FingerprintError, InputError, message
from qloc.store.files.lock import Lock
from qloc.store.integrity.check import complete, layout_of, root_attributes
from qloc.store.names import LEDGER, LOCK
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import COPIED
from qloc.store.schema.variables import Variable, as_stored
from qloc.store.units import ledger
from qloc.store.units.coordinator import Coordinator
from qloc.store.units.ledger import UnitRecord
from qloc.store.units.shard_record import settle_shard
from qloc.store.writing import append, skeleton


def write_phase_unit(
    path: str | Path, phase: str, block: PhaseBlock, *, notes: Mapping[str, Any] | None = None
) -> UnitRecord:
    """Write the immutable file of one unit of a phase.

    This may run in any process that sees the store, and needs no lock.

    Parameters
    ----------
    path : str or Path
        The store, as given to :meth:`PhaseWriter.open`.
    phase : str
        Name of the phase.
    block : PhaseBlock
        The arrays of the unit.
    notes : Mapping, optional
        What a reader should know of this unit, JSON only, besides the block's own notes. The manifest keeps
        them.

    Returns
    -------
    UnitRecord
        Hand it to :meth:`PhaseWriter.record`; until then the unit does not count.

    Raises
    ------
    InputError
        If the phase is not being appended, or the block does not match its outline; lists each problem.
    StorageError
        If the disk refused.
    """
    path = Path(path)
    description = append.under_way(path).get(phase)
    if description is None:
        rule, action = "a phase that is being appended", "Open a PhaseWriter first"
        raise InputError(message("phase", phase, rule, str(path), action))
    layout = append.with_phase(layout_of(path), PhaseLayout.read(phase, description["layout"]))
    arrays = phase_arrays(block, layout, phase)
    all_notes = {**block.notes, **(notes or {})}
    return ledger.write_arrays(append.folder_of(path, phase), block.unit.number, arrays, all_notes)


def phase_arrays(block: PhaseBlock, layout: Layout, phase: str) -> dict[str, Array]:
    """Return the arrays of a unit's file, under the paths and dtypes of the schema.

    Parameters
    ----------
    block : PhaseBlock
        The arrays of the unit.
    layout : Layout
        The layout of the store, including the phase.
    phase : str
        Name of the phase.

    Returns
    -------
    dict of str to ndarray
        The arrays by their path; strings as object arrays.

    Raises
    ------
    InputError
        If the block does not match its outline; lists each problem.
    """
    unit, where = block.unit, f"the block of unit {block.unit.number} of {phase}"
    variables = {v.path: v for v in layout.phases[phase].variables() if _is_given(v)}
    problems = []
    if not 0 <= unit.number < len(layout.units) or layout.units[unit.number] != unit:
        action = "Take units of the store's layout"
        problems.append(message("unit", unit, "a unit of the store", where, action))
    for path in sorted({*variables, *block.arrays}):
        got = np.shape(block.arrays[path]) if path in block.arrays else None
        expected = layout.shape(variables[path], 0, unit) if path in variables else None
        if got != expected:
            rule = f"shape {expected}" if path in variables else "no such array"
            problems.append(message(f"shape of {path}", got, rule, where, "Make blocks as qloc.block says"))
    if problems:
        raise InputError(problems)
    return {path: as_stored(block.arrays[path], variable.dtype) for path, variable in variables.items()}


class PhaseWriter(Coordinator[PhaseBlock]):
    """The hold of one process on a phase that is being appended to a complete store; a context manager.

    Attributes
    ----------
    path : Path
        The store.
    layout : Layout
        The layout of the store, including the phase.
    phase : str
        Name of the phase.
    complete : bool
        Whether the phase is in the store; then nothing is left to write.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        phase: str,
        lock: Lock | None,
        records: dict[int, UnitRecord],
        description: Mapping[str, Any],
        shard: Shard | None = None,
    ) -> None:
        super().__init__(path, append.folder_of(path, phase), layout, lock, records, shard)
        self.phase, self._description = phase, description

    @classmethod
    def of_shard(
        cls, path: Path, outline: PhaseOutline, fingerprint: Mapping[str, Any], shard: Shard
    ) -> Self:
        """Begin or resume a shard's part of a phase, in the unfinished store of the shard.

        Merging gathers these parts. What the phase is chosen from is another store, that of all signals.

        Parameters
        ----------
        path : Path
            The shard's store.
        outline : PhaseOutline
            Labels, sizes and attributes of the phase.
        fingerprint : Mapping
            Nested parameters that the phase's digest is made from, as for :meth:`open`.
        shard : Shard
            The part of the units that is written.

        Returns
        -------
        PhaseWriter
            The hold on the phase.

        Raises
        ------
        InputError
            If the store is complete, or for another shard, or cannot hold such an outline.
        FingerprintError
            If the store has begun the phase with other parameters or from other parents; shows the
            differences.
        LockedError
            If another process writes the store.
        StorageError
            If the disk refused.
        """
        phase = PhaseLayout.of(outline, layout_of(path).sizes)
        lock = None if complete(path) else Lock.take(path / LEDGER / LOCK, path)
        if lock is None:
            rule, action = f"the unfinished store of shard {shard}", "Give another --out"
            raise InputError(message("store", "complete or moved", rule, str(path), action))
        try:
            settle_shard(path, shard, ())
            refuse_other_phase(path, outline.phase, fingerprint, phase)
            description = append.begin(path, phase, skeleton.kept_fingerprint(fingerprint), outline.attrs)
            records = append.sweep_phase(path, outline.phase)
            layout = append.with_phase(layout_of(path), phase)
            return cls(path, layout, outline.phase, lock, records, description, shard)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: str | Path, outline: PhaseOutline, fingerprint: Mapping[str, Any]) -> Self:
        """Begin a phase, or resume one of the same fingerprint where it was left.

        Parameters
        ----------
        path : str or Path
            A complete store.
        outline : PhaseOutline
            Labels, sizes and attributes of the phase.
        fingerprint : Mapping
            Nested parameters that the phase's digest is made from, JSON only. ``parents`` has the digests
            of the phases that this one was chosen from, by name.

        Returns
        -------
        PhaseWriter
            The hold on the phase.

        Raises
        ------
        InputError
            If the store is not complete, or cannot hold such an outline.
        FingerprintError
            If the store has the phase with other parameters or from other parents; shows the differences.
        LockedError
            If another process appends to the store.
        VerificationError
            If the store's manifest is broken.
        StorageError
            If the disk refused.
        """
        path = Path(path)
        phase = PhaseLayout.of(outline, layout_of(path).sizes)
        _require_complete(path)
        append.tidy(path)
        refuse_other_phase(path, outline.phase, fingerprint, phase)
        while True:
            if append.is_appended(path, outline.phase):
                return cls(path, layout_of(path), outline.phase, None, {}, {})
            if (lock := append.take_lock(path)) is not None:
                break
        try:
            append.recover(path)
            refuse_other_phase(path, outline.phase, fingerprint, phase)
            if append.is_appended(path, outline.phase):
                append.give_back(path, lock)
                return cls(path, layout_of(path), outline.phase, None, {}, {})
            kept = skeleton.kept_fingerprint(fingerprint)
            description = append.begin(path, phase, kept, outline.attrs)
            records = append.sweep_phase(path, outline.phase)
            layout = append.with_phase(layout_of(path), phase)
            return cls(path, layout, outline.phase, lock, records, description)
        except BaseException:
            append.give_back(path, lock)
            raise

    def missing(self) -> tuple[Unit, ...]:
        """Return the units that are still to be written, in order; none where all groups are absent.

        Returns
        -------
        tuple of Unit
            The units without a record.
        """
        return super().missing() if self.layout.phases[self.phase].groups else ()

    def close(self) -> None:
        """Give the lock back."""
        if self.shard is not None:
            super().close()
        elif self._lock is not None:
            append.give_back(self.path, self._lock)
            self._lock = None

    def _written(self, block: PhaseBlock, notes: Mapping[str, Any] | None) -> UnitRecord:
        return write_phase_unit(self.path, self.phase, block, notes=notes)

    def _assemble(self, run: Mapping[str, Any]) -> None:
        append.finalize_phase(self.path, self.layout, self.phase, self._records, run, self._description)


def holds_phase(path: str | Path, phase: str, fingerprint: Mapping[str, Any]) -> bool:
    """Return whether a complete store has a phase of this fingerprint, whatever its labels.

    Decided phases whose renames were interrupted are moved in first.

    Parameters
    ----------
    path : str or Path
        A complete store.
    phase : str
        Name of the phase.
    fingerprint : Mapping
        The parameters that the phase's digest is made from.

    Returns
    -------
    bool
        False where the store does not have the phase, or not all of it.

    Raises
    ------
    InputError
        If the store is unfinished.
    FingerprintError
        If the store has the phase, or has begun it, with other parameters; shows the differences.
    VerificationError
        If the store's manifest is broken.
    """
    path = Path(path)
    _require_complete(path)
    append.tidy(path)
    refuse_other_phase(path, phase, fingerprint)
    return append.is_appended(path, phase)


def _require_complete(path: Path) -> None:
    if not complete(path):
        rule = "a complete store, to append a phase to"
        raise InputError(message("store", "unfinished", rule, str(path), "Complete it first"))
    manifest.read(path)


def refuse_other_outline(path: Path, outline: PhaseOutline, fingerprint: Mapping[str, Any]) -> None:
    """Refuse to append a phase that differs from the one of its name in the store.

    Raises what :func:`refuse_other_phase` raises.

    Parameters
    ----------
    path : Path
        A complete store.
    outline : PhaseOutline
        Labels and sizes of the phase.
    fingerprint : Mapping
        The parameters that the phase's digest is made from.
    """
    layout = PhaseLayout.of(outline, layout_of(path).sizes)
    refuse_other_phase(path, outline.phase, fingerprint, layout)


def refuse_other_phase(
    path: Path, phase: str, fingerprint: Mapping[str, Any], layout: PhaseLayout | None = None
) -> None:
    """Refuse a phase if the store has it, or has begun it, with other parameters or from other parents.

    Parameters
    ----------
    path : Path
        A complete store.
    phase : str
        Name of the phase.
    fingerprint : Mapping
        The parameters that the phase's digest is made from, with its ``parents``.
    layout : PhaseLayout, optional
        The layout that is asked for; by default the layout is not compared.

    Raises
    ------
    FingerprintError
        If parents, parameters or layouts differ; shows the differences. A parent besides ``signals`` may be
        still to come where the store has nothing of the phase.
    """
    attributes = root_attributes(path)
    under_way = append.under_way(path)
    made = {name: begun["fingerprint"] for name, begun in under_way.items()} | attributes["fingerprint"]
    for parent, digest in fingerprint.get("parents", {}).items():
        held = made.get(parent, {}).get("digest", "")
        to_come = not held and phase not in made and parent != skeleton.SIGNALS_PHASE
        if held != digest and not to_come:
            what, rule = f"fingerprint of {parent}", f"{digest[:12]}, which {phase} are to be chosen from"
            text = message(what, held[:12], rule, str(path), "Give the store that the plan was made for")
            raise FingerprintError(text)
    parameters = f"the parameters that {phase} were made with"
    if phase in attributes["fingerprint"]:
        held, kept = attributes["fingerprint"][phase], attributes.get("phases", {}).get(phase, {})
        action = f"Give another --out, or {parameters}"
    elif description := under_way.get(phase):
        held, kept = description["fingerprint"], description["layout"]
        action = f"Give {parameters}, or remove {append.folder_of(path, phase)}, what was begun with them"
    else:
        return
    kept = {name: value for name, value in kept.items() if name != "attrs"}
    requested = layout.attrs() if layout else kept
    skeleton.refuse_different(path, phase, held, fingerprint, (kept, requested), action)


def _is_given(variable: Variable) -> bool:
    return variable.dims != (variable.name,) and variable.path not in COPIED
