"""Who holds the lock of what is written, and knows which units count."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from qloc.block import Block
from qloc.errors import InputError, LockedError
from qloc.store.files.lock import Lock
from qloc.store.schema.layout import Layout
from qloc.store.units import ledger
from qloc.store.units.coordinator import Coordinator


class Numbers(Coordinator[Block]):
    """A coordinator that keeps one number of each unit, and assembles nothing."""

    assembled: Mapping[str, Any] | None = None

    def _written(self, block, notes):
        return ledger.write_arrays(self._folder, block.unit.number, {"a/b": np.zeros(1)}, notes or {})

    def _assemble(self, run):
        self.assembled = run


@pytest.fixture
def opened(tmp_path, study):
    """Return a function that opens the coordinator of a store, with what was recorded of it."""
    for folder in ("units", "ledger"):
        (tmp_path / folder).mkdir()
    layout = Layout.of(study.outline(), tier="panel", floor=0.05, capacity=9, store_dtype="float32")

    def opened(complete=False):
        lock = None if complete else Lock.take(tmp_path / "ledger/lock", tmp_path)
        return Numbers(tmp_path, tmp_path, layout, lock, ledger.sweep(tmp_path))

    return opened


def test_units_are_missing_until_they_are_recorded(opened, study, tmp_path):
    blocks = study.blocks()
    with opened() as coordinator:
        assert (coordinator.path, coordinator.complete) == (tmp_path, False)
        assert coordinator.missing() == coordinator.layout.units
        unit = coordinator.write(blocks[2], notes={"batch": 4})
        assert (unit.number, unit.notes) == (2, {"batch": 4})
        assert [u.number for u in coordinator.missing()] == [0, 1, 3]
    with opened() as again:
        assert [u.number for u in again.missing()] == [0, 1, 3]
        assert list(ledger.records(tmp_path)) == [unit]


def test_the_lock_is_held_until_it_is_closed(opened):
    with opened() as coordinator:
        with pytest.raises(LockedError):
            opened()
        coordinator.close()
        opened().close()
    opened().close()


def test_finalizing_wants_every_unit(opened, study, tmp_path):
    with opened() as coordinator:
        for block in study.blocks()[:2]:
            coordinator.write(block)
        with pytest.raises(InputError) as caught:
            coordinator.finalize()
        assert str(caught.value) == (
            f"number of missing units is 2; expected 0. At {tmp_path}. Write them before finalizing."
        )
        assert (coordinator.complete, coordinator.assembled) == (False, None)


def test_finalizing_assembles_once_and_gives_the_lock_back(opened, study):
    with opened() as coordinator:
        for block in study.blocks():
            coordinator.write(block)
        coordinator.finalize({"device": "cpu"})
        assert (coordinator.complete, coordinator.assembled) == (True, {"device": "cpu"})
        assert coordinator.missing() == ()
        opened().close()
        coordinator.finalize({"device": "another"})
        assert coordinator.assembled == {"device": "cpu"}


def test_where_all_is_complete_nothing_is_missing_or_done(opened):
    with opened(complete=True) as coordinator:
        assert (coordinator.complete, coordinator.missing()) == (True, ())
        coordinator.finalize()
        assert coordinator.assembled is None


def test_where_assembling_fails_it_is_not_complete(opened, study, monkeypatch):
    def fails(self, run):
        raise OSError("disk")

    monkeypatch.setattr(Numbers, "_assemble", fails)
    with opened() as coordinator:
        for block in study.blocks():
            coordinator.write(block)
        with pytest.raises(OSError, match="disk"):
            coordinator.finalize()
        assert not coordinator.complete
        with pytest.raises(LockedError):
            opened()
