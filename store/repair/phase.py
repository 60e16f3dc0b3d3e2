"""Repair one phase of a store: find the units that damaged objects need, and rebuild the objects."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from qloc.arrays import Array
from qloc.block import Block, PhaseBlock, Unit
from qloc.store.files.staging import empty
from qloc.store.integrity import check
from qloc.store.integrity.object_contents import Contents, Region
from qloc.store.names import CARD, LEDGER, UNITS
from qloc.store.repair import rebuild_object
from qloc.store.repair.damage import Damage
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_variables import COPIED, OF_ALL_UNITS
from qloc.store.schema.variables import FACTS, Variable, as_stored, fact_column
from qloc.store.schema.zarr_arrays import stored
from qloc.store.units import ledger
from qloc.store.units.activation_sums import summed
from qloc.store.units.neuron_tokens import TOKENS, gathered
from qloc.store.writing.phase_writer import phase_arrays
from qloc.store.writing.skeleton import SIGNALS_PHASE
from qloc.store.writing.writer import signal_arrays

_FACTS: Final = FACTS[0].group


class Stage:
    """The damaged objects of one phase, and the units to rebuild them from.

    The stage of ``signals`` also has facts, labels, and every object of a group that no later phase has.

    Parameters
    ----------
    phase : str
        ``signals`` or a later phase.
    damage : Damage
        The damage of the whole store.
    aside : Path
        Working folder of the repair, outside the store.

    Attributes
    ----------
    phase : str
        ``signals`` or a later phase.
    path : Path
        The store.
    records : dict of int to UnitRecord
        The units that were run again, by number.
    damaged : list of str
        The damaged pieces of the phase's arrays.
    needed : tuple of Unit
        The units that these are rebuilt from, in order.
    columns : Mapping of str to ndarray
        The columns of the facts; empty until they are given.
    rebuilt : list of str
        Rebuilt objects that have the bytes of the manifest again.
    other : dict of str to str
        Rebuilt objects that have other bytes, with their sha256.
    lost : list of str
        Objects that this version cannot rebuild.
    waiting : list of str
        Objects that were not tried, because the signals that they are chosen from are not restored.
    """

    def __init__(self, phase: str, damage: Damage, aside: Path) -> None:
        self.phase, self.path = phase, damage.path
        self._layout: Layout = check.layout_of(damage.path)
        self._contents, self._damage = Contents(damage.path), damage
        self._aside, self._folder, self._waits = aside, aside / phase, False
        self.columns: Mapping[str, Array] = {}
        self.rebuilt: list[str] = []
        self.other: dict[str, str] = {}
        self.lost: list[str] = []
        self.waiting: list[str] = []
        self._phase_of = {
            group: name for name, layout in self._layout.phases.items() for group in layout.groups
        }
        self.damaged = [name for name in damage.objects if self._is_ours(name)]
        needed = {unit for name in self.damaged for unit in self._units(name)}
        self.needed = tuple(sorted(needed, key=lambda unit: unit.number))
        for name in (UNITS, LEDGER):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self.records = ledger.sweep(self._folder)

    @property
    def units(self) -> tuple[Unit, ...]:
        """Units that are still to be run again, in order."""
        return tuple(u for u in self.needed if u.number not in self.records and not self._waits)

    def put(self, block: Block | PhaseBlock) -> None:
        """Take a unit that was run again, and keep it until the repair ends.

        Parameters
        ----------
        block : Block or PhaseBlock
            The numbers of the unit: a Block for ``signals``, else a PhaseBlock.

        Raises
        ------
        InputError, ModelError, StorageError
            As for writing a unit.
        """
        if isinstance(block, Block):
            arrays = signal_arrays(block, self._layout)
        else:
            arrays = phase_arrays(block, self._layout, self.phase)
        record = ledger.write_arrays(self._folder, block.unit.number, arrays, block.notes)
        ledger.record(self._folder, record)
        self.records[record.number] = record

    def wait(self) -> None:
        """Leave everything as it is, because the signals that units are chosen from are not restored."""
        self._waits = True

    def forget(self) -> None:
        """Remove the units that were kept, because the signals that they were chosen from have changed."""
        for name in (UNITS, LEDGER):
            empty(self._folder / name)
        self.records.clear()

    def settle(self, *, accept: bool) -> None:
        """Rebuild damaged objects, and put those in their place that have the bytes of the manifest.

        Parameters
        ----------
        accept : bool
            Whether to put every rebuilt object in its place, whatever its bytes. Then all arrays of the
            phase take the rows of these units from this run, so that they agree with each other.

        Raises
        ------
        VerificationError
            If panels are larger than those of the store; then nothing was changed.
        StorageError
            If the disk refused.
        """
        if self._waits:
            self.waiting = self.damaged
            return
        rebuild_object.require_slots(self.path, self.records.values())
        for name in self.damaged:
            self._settle(name)
        if self.other and accept:
            self._agree()

    def _is_ours(self, name: str) -> bool:
        """Return whether an object is in a group of this phase; unknown groups count to ``signals``."""
        return name != CARD and self._phase_of.get(name.partition("/")[0], SIGNALS_PHASE) == self.phase

    def _labels(self, variable: Variable | None) -> tuple[str, ...] | None:
        return None if variable is None else self._layout.labels(variable)

    def _is_of_units(self, variable: Variable | None) -> bool:
        """Return whether each row of an array comes from one unit."""
        if variable is None or variable.row is None or variable.group == _FACTS:
            return False
        return variable.path not in COPIED

    def _units(self, name: str) -> tuple[Unit, ...]:
        """Return the units that an object is rebuilt from."""
        variable = self._contents.variable(name)
        if self._is_of_units(variable):
            return self._contents.units(name)
        of_all = variable is not None and variable.group in OF_ALL_UNITS and self._labels(variable) is None
        return self._layout.units if of_all else ()

    def _settle(self, name: str, *, anew: set[Unit] | None = None, any_bytes: bool = False) -> None:
        """Rebuild a piece of an array, and put it in its place if it has the bytes of the manifest.

        Parameters
        ----------
        name : str
            Path of the object.
        anew : set of Unit, optional
            The units whose rows are taken from this run, while the other rows are kept. By default all rows
            are.
        any_bytes : bool
            Whether to put it in its place whatever its bytes.
        """
        region = self._contents.region(name)
        values = None if region is None else self._cells(name, region, anew)
        if region is None or values is None:
            self.lost.append(name)
            return
        file = rebuild_object.write_object(self.path, self._aside / "arrays", name, region, values)
        content = file.read_bytes() if file.exists() else b""
        digest = sha256(content).hexdigest()
        expected = digest == self._damage.manifest["objects"][name]["sha256"]
        if expected or any_bytes:
            self._damage.place(name, content)
        if not expected:
            self.other[name] = digest
        elif name in self.damaged:
            self.rebuilt.append(name)

    def _cells(self, name: str, region: Region, anew: set[Unit] | None) -> Array | None:
        variable = self._contents.variable(name)
        if variable is None or variable.group == _FACTS:
            return self._facts(name, region)
        if (labels := self._labels(variable)) is not None:
            return np.array([*labels, None], dtype=object)[:-1][region]
        if variable.path in COPIED:
            return stored(self.path / COPIED[variable.path], region)
        if variable.group in OF_ALL_UNITS:
            every = [self.records[unit.number] for unit in self._layout.units]
            if variable.group == TOKENS:
                return gathered(variable, self._folder, self._layout, every)[region]
            return summed(variable, region, self._folder, every).astype(self._layout.dtype(variable))
        units = self._units(name)
        taken = {unit: self.records[unit.number] for unit in units if anew is None or unit in anew}
        keep = anew is not None
        return rebuild_object.cells_of_units(self.path, self._folder, variable, region, taken, keep=keep)

    def _facts(self, name: str, region: Region) -> Array | None:
        group, column, *_ = name.split("/")
        values = self.columns.get(column) if group == _FACTS else None
        return None if values is None else as_stored(values, fact_column(column, values).dtype)[region]

    def _agree(self) -> None:
        """Let every array of the phase take the rows of units whose numbers differ in this run."""
        units = {unit for name in self.other for unit in self._units(name)}
        for name in filter(self._is_ours, self._damage.manifest["objects"]):
            if name in self.other:
                self._settle(name, any_bytes=True)
            elif units.intersection(self._contents.units(name)):
                self._settle(name, anew=units, any_bytes=True)
