"""Units of signals: written to a store that is there, and a shard's only."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from qloc.block import Shard
from qloc.errors import InputError
from qloc.plan import Plan
from qloc.workflows.extract import prepared
from qloc.workflows.signal_units import SignalUnits, opened


def test_a_shard_has_its_units_missing_until_they_are_recorded(signals_plan: Plan, tmp_path: Path) -> None:
    extraction = prepared(signals_plan.model_copy(update={"tier": "dense", "capacity": 77}))
    store = tmp_path / "s.zarr"
    with opened(extraction, extraction.outline, store, Shard(number=1, of=2)) as writer:
        assert (writer.layout.tier, writer.layout.capacity) == ("dense", 77)
        assert [unit.number for unit in writer.missing()] == [0, 2]
        writer.record(SignalUnits(extraction, store)(writer.units[0]))
        assert [unit.number for unit in writer.missing()] == [2]


def test_a_store_that_a_worker_does_not_see_is_refused(signals_plan: Plan, tmp_path: Path) -> None:
    extraction, store = prepared(signals_plan), tmp_path / "s.zarr"
    with pytest.raises(InputError) as caught:
        SignalUnits(extraction, store)(extraction.outline.units[0])
    assert caught.value.problems == (
        f"store is {str(store)!r}; expected a folder that every worker sees, at one path. At {platform.node()}. "
        "Put --out on a file system that all workers share.",
    )
