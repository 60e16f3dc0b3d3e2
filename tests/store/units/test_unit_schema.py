"""Arrays of unit files are read only with the dtype, shape and values of the schema."""

import dataclasses
import re

import numpy as np
import pytest

from qloc.errors import SchemaError
from qloc.store.schema.layout import Layout
from qloc.store.units import ledger
from qloc.store.units.unit_schema import most_slots, unit_array
from qloc.store.writing.writer import signal_arrays


@pytest.fixture(scope="module")
def layout(study):
    return Layout.of(study.outline(), tier="panel", floor=0.05, capacity=99, store_dtype="float32")


@pytest.fixture
def read(tmp_path, study, layout):
    """Return a function that writes unit 1 with one array changed, and reads that back."""
    (tmp_path / "units").mkdir()
    unit = layout.units[1]
    arrays = signal_arrays(study.block(unit), layout)
    by_path = {variable.path: variable for variable in layout.variables()}

    def read(path, change, **changes):
        changed = {**arrays, path: change(arrays[path])}
        record = ledger.write_arrays(tmp_path, 1, changed, {})
        record = dataclasses.replace(record, n_slots=arrays["signals/panel_neuron"].shape[1], **changes)
        return unit_array(tmp_path, record, by_path[path], layout, unit)

    return read


def test_every_array_of_a_unit_comes_back(read, layout, study):
    expected = signal_arrays(study.block(layout.units[1]), layout)
    for variable in layout.variables():
        if variable.row is not None:
            np.testing.assert_array_equal(read(variable.path, lambda values: values), expected[variable.path])


CHANGES = {
    "another dtype": (
        "queries/rank",
        lambda values: values.astype(np.int64),
        "is 'int64 (5,)'; expected int32 (5,)",
    ),
    "a row less": ("queries/rank", lambda values: values[1:], "is 'int32 (4,)'; expected int32 (5,)"),
    "a neuron that is none": (
        "signals/panel_neuron",
        lambda values: values + 2048,
        "expected from -1 to 119",
    ),
    "NaN": (
        "signals/attribution",
        lambda values: np.where(np.arange(values.shape[-1]) == 0, np.nan, values).astype(values.dtype),
        "value of signals/attribution is nan",
    ),
    "texts that are none": (
        "queries/prompt",
        lambda values: np.array([1] * len(values), dtype=object),
        "is 'not all texts'",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_the_schema_does_not_say_is_refused(read, kind):
    path, change, text = CHANGES[kind]
    with pytest.raises(SchemaError, match=re.escape(text)):
        read(path, change)


def test_an_array_of_objects_is_not_mapped(tmp_path, layout):
    """Its bytes would be taken for pointers."""
    (tmp_path / "units").mkdir()
    path = tmp_path / "units" / "unit.npz"
    np.savez(path, allow_pickle=True, **{"queries/rank": np.array([object()] * 5)})
    record = ledger.UnitRecord(number=1, file="unit.npz", sha256="", size=0, n_slots=0)
    variable = next(v for v in layout.variables() if v.path == "queries/rank")
    with pytest.raises(SchemaError, match=r"queries/rank\.npy is object \(5,\), not an array of numbers"):
        unit_array(tmp_path, record, variable, layout, layout.units[1])


def test_more_slots_than_a_panel_may_have(layout, tmp_path):
    records = [ledger.UnitRecord(number=n, file="", sha256="", size=0, n_slots=9 + n) for n in range(3)]
    assert most_slots(tmp_path, records, layout) == 11
    assert most_slots(tmp_path, [], layout) == 0
    with pytest.raises(SchemaError, match="slots of a unit is 100; expected at most 99"):
        most_slots(tmp_path, [dataclasses.replace(records[0], n_slots=100)], layout)
