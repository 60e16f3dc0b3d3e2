"""PhaseWriter: begins or resumes a phase of a complete store, records its units, and appends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.errors import FingerprintError, InputError, message
from qloc.store.files.lock import Lock
from qloc.store.integrity.check import complete, layout_of, root_attributes
from qloc.store.schema import manifest
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import COPIED
from qloc.store.schema.variables import Variable, as_stored
from qloc.store.units import ledger
from qloc.store.units.coordinator import Coordinator
from qloc.store.units.ledger import UnitRecord
from qloc.store.writing import append, skeleton


def write_phase_unit(
    path: str | Path, phase: str, block: PhaseBlock, *, notes: Mapping[str, Any] | None = None
) -> UnitRecord:
    """Write one unit's immutable file; may run in any process that sees the store, and needs no lock.

    Parameters
    ----------
    path : the store, as given to :meth:`PhaseWriter.open`.
    notes : what a reader should know of this unit, JSON only, besides the block's own; kept in the manifest.

    Returns
    -------
    UnitRecord : to be handed to :meth:`PhaseWriter.record`; until then the unit does not count.

    Raises
    ------
    InputError : the phase is not being appended, or the block is not what its outline says; every problem.
    StorageError : the disk refused.
    """
    path = Path(path)
    said = append.under_way(path).get(phase)
    if said is None:
        rule, action = "a phase that is being appended", "Open a PhaseWriter first"
        raise InputError(message("phase", phase, rule, str(path), action))
    layout = append.with_phase(layout_of(path), PhaseLayout.read(phase, said["layout"]))
    arrays = phase_arrays(block, layout, phase)
    made = {**block.notes, **(notes or {})}
    return ledger.write_arrays(append.folder_of(path, phase), block.unit.number, arrays, made)


def phase_arrays(block: PhaseBlock, layout: Layout, phase: str) -> dict[str, Array]:
    """What a unit puts into its file, under the paths and dtypes of the schema.

    Parameters
    ----------
    layout : the store's, with the phase's among its phases.

    Raises
    ------
    InputError : the block is not what its outline says; every problem.
    """
    unit, where = block.unit, f"the block of unit {block.unit.number} of {phase}"
    wanted = {v.path: v for v in layout.phases[phase].variables() if _is_given(v)}
    problems = []
    if not 0 <= unit.number < len(layout.units) or layout.units[unit.number] != unit:
        action = "Take units of the store's layout"
        problems.append(message("unit", unit, "a unit of the store", where, action))
    for path in sorted({*wanted, *block.arrays}):
        got = np.shape(block.arrays[path]) if path in block.arrays else None
        expected = layout.shape(wanted[path], 0, unit) if path in wanted else None
        if got != expected:
            rule = f"shape {expected}" if path in wanted else "no such array"
            problems.append(message(f"shape of {path}", got, rule, where, "Make blocks as qloc.block says"))
    if problems:
        raise InputError(problems)
    return {path: as_stored(block.arrays[path], variable.dtype) for path, variable in wanted.items()}


class PhaseWriter(Coordinator[PhaseBlock]):
    """The coordinator's hold on a phase that is appended to a complete store; a context manager.

    Attributes
    ----------
    path : the store.
    layout : the store's, the phase's among its phases.
    phase : the phase's name.
    complete : whether the phase is in the store; then there is nothing left to write.
    """

    def __init__(
        self, path: Path, layout: Layout, phase: str, lock: Lock | None, records: dict[int, UnitRecord]
    ) -> None:
        super().__init__(path, append.folder_of(path, phase), layout, lock, records)
        self.phase = phase

    @classmethod
    def open(cls, path: str | Path, outline: PhaseOutline, fingerprint: Mapping[str, Any]) -> Self:
        """Begin a phase, or take up one of the same fingerprint where it was left.

        Parameters
        ----------
        fingerprint : what the phase's digest is made from, nested, JSON only; ``parents`` has the digests of
            the phases that it was chosen from, by name.

        Raises
        ------
        InputError : the store is not complete, or the outline is none that it can hold.
        FingerprintError : the phase is there with other parameters, or of other parents; shows where they
            differ.
        LockedError : another process appends to the store.
        VerificationError : its manifest is broken.
        StorageError : the disk refused.
        """
        path = Path(path)
        phase = PhaseLayout.of(outline, layout_of(path).sizes)
        _require_complete(path)
        append.tidy(path)
        refuse_other_phase(path, outline.phase, fingerprint, phase)
        while True:
            if append.is_appended(path, outline.phase):
                return cls(path, layout_of(path), outline.phase, None, {})
            if (lock := append.take_lock(path)) is not None:
                break
        try:
            append.recover(path)
            refuse_other_phase(path, outline.phase, fingerprint, phase)
            if append.is_appended(path, outline.phase):
                append.give_back(path, lock)
                return cls(path, layout_of(path), outline.phase, None, {})
            if outline.phase not in append.under_way(path):
                append.begin(path, phase, skeleton.made(fingerprint), outline.attrs)
            records = append.sweep(path, outline.phase)
            return cls(path, append.with_phase(layout_of(path), phase), outline.phase, lock, records)
        except BaseException:
            append.give_back(path, lock)
            raise

    def missing(self) -> tuple[Unit, ...]:
        """The units still to be written, in order; none where all groups are absent."""
        return super().missing() if self.layout.phases[self.phase].groups else ()

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            append.give_back(self.path, self._lock)
            self._lock = None

    def _written(self, block: PhaseBlock, notes: Mapping[str, Any] | None) -> UnitRecord:
        return write_phase_unit(self.path, self.phase, block, notes=notes)

    def _assemble(self, run: Mapping[str, Any]) -> None:
        append.finalize(self.path, self.layout, self.phase, self._records, run)


def holds_phase(path: str | Path, phase: str, fingerprint: Mapping[str, Any]) -> bool:
    """Whether a complete store has a phase of this fingerprint, whatever its labels; tidies what was decided.

    Raises
    ------
    FingerprintError : the phase is there, or under way, with other parameters; shows where they differ.
    VerificationError : the store is unfinished, or its manifest broken.
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
    """Refuse a phase that is not that of its name in a store; raises what :func:`refuse_other_phase` does."""
    layout = PhaseLayout.of(outline, layout_of(path).sizes)
    refuse_other_phase(path, outline.phase, fingerprint, layout)


def refuse_other_phase(
    path: Path, phase: str, fingerprint: Mapping[str, Any], layout: PhaseLayout | None = None
) -> None:
    """Refuse to append a phase that is there, or under way, with other parameters, or is of other parents.

    Raises
    ------
    FingerprintError : shows where they differ.
    """
    attributes = root_attributes(path)
    for parent, digest in fingerprint.get("parents", {}).items():
        held = attributes["fingerprint"].get(parent, {}).get("digest", "")
        if held != digest:
            what, rule = f"fingerprint of {parent}", f"{digest[:12]}, which {phase} are to be chosen from"
            text = message(what, held[:12], rule, str(path), "Give the store that the plan was made for")
            raise FingerprintError(text)
    parameters = f"the parameters that {phase} were made with"
    if phase in attributes["fingerprint"]:
        held, kept = attributes["fingerprint"][phase], attributes.get("phases", {}).get(phase, {})
        action = f"Give another --out, or {parameters}"
    elif said := append.under_way(path).get(phase):
        held, kept = said["fingerprint"], said["layout"]
        action = f"Give {parameters}, or remove {append.folder_of(path, phase)}, what was begun with them"
    else:
        return
    kept = {name: value for name, value in kept.items() if name != "attrs"}
    asked = layout.attrs() if layout else kept
    skeleton.refuse_different(path, phase, held, fingerprint, (kept, asked), action)


def _is_given(variable: Variable) -> bool:
    return variable.dims != (variable.name,) and variable.path not in COPIED
