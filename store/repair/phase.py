"""One phase of a damaged store: the units that its objects need, and the objects rebuilt from them."""

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
from qloc.store.schema.phase_variables import COPIED
from qloc.store.schema.variables import FACTS, Variable, as_stored, fact_column
from qloc.store.schema.zarr_arrays import stored
from qloc.store.units import ledger
from qloc.store.units.activation_sums import summed
from qloc.store.writing.phase_writer import phase_arrays
from qloc.store.writing.writer import signal_arrays

SIGNALS: Final = "signals"
_FACTS: Final = FACTS[0].group
_SUMS: Final = "statistics"  # of all units


class Stage:
    """The damaged objects of one phase; of ``signals`` also facts, labels and whatever no later phase has.

    Attributes
    ----------
    phase : ``signals``, or a later one.
    damaged : its damaged pieces of arrays.
    needed : the units that these are rebuilt from, in order.
    columns : of the facts, where given.
    rebuilt : objects that have the bytes that the manifest says again.
    other : those that have others when rebuilt, with their sha256.
    lost : those that nothing here can rebuild.
    waiting : those that were not tried, since what they are chosen from is not what it was.
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
        self._phase_of = {group: name for name, one in self._layout.phases.items() for group in one.groups}
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
        """Take a unit that was run again, and keep it until the repair is done.

        Raises
        ------
        InputError, ModelError, StorageError : as for writing a unit.
        """
        if isinstance(block, Block):
            arrays = signal_arrays(block, self._layout)
        else:
            arrays = phase_arrays(block, self._layout, self.phase)
        record = ledger.write_arrays(self._folder, block.unit.number, arrays, block.notes)
        ledger.record(self._folder, record)
        self.records[record.number] = record

    def wait(self) -> None:
        """Leave all as it is: what units would be chosen from, and labels copied, is not what it was."""
        self._waits = True

    def forget(self) -> None:
        """Remove the units that were kept: what they were chosen from has changed."""
        for name in (UNITS, LEDGER):
            empty(self._folder / name)
        self.records.clear()

    def settle(self, *, accept: bool) -> None:
        """Rebuild what is damaged, and put it in its place where it has the bytes that the manifest says.

        Parameters
        ----------
        accept : put it there whatever bytes it has; then all arrays of the phase take the rows of these
            units from this run, so that they agree with each other.

        Raises
        ------
        VerificationError : panels larger than the store's; nothing was changed.
        StorageError : the disk refused.
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
        """Whether an object is in one of the phase's groups; what is in none of ours is of ``signals``."""
        return name != CARD and self._phase_of.get(name.partition("/")[0], SIGNALS) == self.phase

    def _labels(self, variable: Variable | None) -> tuple[str, ...] | None:
        return None if variable is None else self._layout.labels(variable)

    def _is_of_units(self, variable: Variable | None) -> bool:
        """Whether each row of an array comes from one unit."""
        if variable is None or variable.row is None or variable.group == _FACTS:
            return False
        return variable.path not in COPIED

    def _units(self, name: str) -> tuple[Unit, ...]:
        """The units that an object is rebuilt from."""
        variable = self._contents.variable(name)
        if self._is_of_units(variable):
            return self._contents.units(name)
        of_all = variable is not None and variable.group == _SUMS and self._labels(variable) is None
        return self._layout.units if of_all else ()

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
            self.lost.append(name)
            return
        made = rebuild_object.write_object(self.path, self._aside / "arrays", name, region, values)
        content = made.read_bytes() if made.exists() else b""
        digest = sha256(content).hexdigest()
        expected = digest == self._damage.said["objects"][name]["sha256"]
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
        if variable.group == _SUMS:
            every = [self.records[unit.number] for unit in self._layout.units]
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
        """Let every array of the phase take the units whose numbers differ from this run."""
        units = {unit for name in self.other for unit in self._units(name)}
        for name in filter(self._is_ours, self._damage.said["objects"]):
            if name in self.other:
                self._settle(name, any_bytes=True)
            elif units.intersection(self._contents.units(name)):
                self._settle(name, anew=units, any_bytes=True)
