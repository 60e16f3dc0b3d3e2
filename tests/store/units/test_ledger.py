"""Units as files: what is recorded counts, what is half done is cleared away, strings come back as they were."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from folders import listing

from qloc.canonical_json import digest
from qloc.errors import InputError, StorageError
from qloc.store.schema.variables import Variable
from qloc.store.units import ledger

ARRAYS = {
    "signals/panel_neuron": np.array([[3, 5, -1], [0, 1, 2]], dtype=np.int32),
    "signals/maximum": np.array([0.5, np.nan], dtype=np.float32),
    "queries/prompt": np.array(["Çity — “is” [Y].", ""], dtype=object),
}


@pytest.fixture
def store(tmp_path):
    """Return a folder with the folders of units and ledger."""
    for folder in ("units", "ledger"):
        (tmp_path / folder).mkdir()
    return tmp_path


def written(store, number, arrays=ARRAYS):
    unit = ledger.write_arrays(store, number, arrays, {"batch": 4})
    ledger.record(store, unit)
    return unit


def variable(path, dtype, *dims):
    group, name = path.split("/")
    return Variable(group=group, name=name, dims=dims, dtype=dtype)


def test_record_says_what_the_file_is(store):
    unit = ledger.write_arrays(store, 7, ARRAYS, {"batch": 4})
    path = store / "units" / unit.file
    raw = path.read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    assert unit == ledger.UnitRecord(
        number=7,
        file=f"unit-000007-{sha256[:16]}.npz",
        sha256=sha256,
        size=len(raw),
        n_slots=3,
        notes={"batch": 4},
    )
    assert list(ledger.records(store)) == []  # not before it is recorded
    ledger.record(store, unit)
    record = json.loads((store / "ledger/unit-000007.json").read_bytes())
    own = record.pop("record_sha256")
    assert record == dataclasses.asdict(unit)
    assert own == digest(record)
    assert list(ledger.records(store)) == [unit]


def test_no_panel_no_slots(store):
    assert ledger.write_arrays(store, 0, {"edits/x": np.zeros(2)}, {}).n_slots == 0


def test_equal_numbers_are_one_file(store):
    """A worker that was given up on may write a unit again: it overwrites nothing, and adds nothing."""
    first, again = (ledger.write_arrays(store, 0, ARRAYS, {}) for _ in range(2))
    assert first == again
    assert listing(store / "units") == [first.file]
    other = ledger.write_arrays(store, 0, {**ARRAYS, "signals/maximum": np.zeros(2, dtype=np.float32)}, {})
    assert listing(store / "units") == sorted([first.file, other.file])


def test_members_come_back_bit_by_bit(store):
    with ledger.open_unit(store, written(store, 0)) as opened:
        neuron = ledger.member(opened, variable("signals/panel_neuron", "int32", "fact", "slot"))
        maximum = ledger.member(opened, variable("signals/maximum", "stored", "query"))
        prompt = ledger.member(opened, variable("queries/prompt", "string", "query"))
    np.testing.assert_array_equal(neuron, ARRAYS["signals/panel_neuron"])
    np.testing.assert_array_equal(maximum, ARRAYS["signals/maximum"])
    assert (prompt.dtype, prompt.tolist()) == (np.dtype(object), ["Çity — “is” [Y].", ""])


@pytest.mark.parametrize("rows", [[], ["a"], [["a", "b"], ["", "Ç"]], [["a"]]])
def test_strings_of_one_or_two_axes(store, rows):
    values = np.empty(np.shape(rows), dtype=object)
    values[...] = rows
    dims = ("fact", "probe")[: values.ndim]
    with ledger.open_unit(store, written(store, 0, {"edits/x": values})) as opened:
        found = ledger.member(opened, variable("edits/x", "string", *dims))
    assert (found.shape, found.tolist()) == (values.shape, rows)


def test_two_axes_without_rows_stay_two(store):
    with ledger.open_unit(store, written(store, 0, {"edits/x": np.empty((0, 2), dtype=object)})) as opened:
        assert ledger.member(opened, variable("edits/x", "string", "fact", "probe")).shape == (0, 0)


def test_unit_without_its_file_is_not_recorded(store):
    unit = ledger.write_arrays(store, 0, ARRAYS, {})
    (store / "units" / unit.file).unlink()
    with pytest.raises(InputError) as caught:
        ledger.record(store, unit)
    assert str(caught.value) == (
        f"unit file is '{unit.file}'; expected a file that write_unit wrote. At {store}/units. Write the unit first."
    )
    assert listing(store / "ledger") == []


def test_units_come_by_number_whenever_they_were_recorded(store):
    units = {number: written(store, number) for number in (11, 2, 100)}
    assert list(ledger.records(store)) == [units[2], units[11], units[100]]


@pytest.mark.parametrize("damage", ["gone", "shorter", "flipped"])
def test_a_file_that_is_not_the_one_recorded_does_not_count(store, damage):
    kept, unit = written(store, 0), written(store, 1, {"a/b": np.arange(9)})
    path = store / "units" / unit.file
    raw = bytearray(path.read_bytes())
    assert ledger.verifies(store, unit)
    if damage == "gone":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(raw[:-1])
    else:
        raw[40] ^= 1
        path.write_bytes(raw)
    assert not ledger.verifies(store, unit)
    assert list(ledger.records(store)) == [kept]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"number": 1}', b"\xff"])
def test_a_record_that_cannot_be_read_does_not_count(store, content):
    kept = written(store, 0)
    (store / "ledger/unit-000001.json").write_bytes(content)
    assert list(ledger.records(store)) == [kept]


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'"batch":4', b'"batch":5'), (b'"n_slots":3', b'"n_slots":2'), (b'"number":7', b'"number":"7"')],
)
def test_a_record_with_a_flipped_bit_does_not_count(store, before, after):
    """Notes and slots would be sealed into the store as they stand."""
    ledger.record(store, ledger.write_arrays(store, 7, ARRAYS, {"batch": 4}))
    path = store / "ledger/unit-000007.json"
    path.write_bytes(path.read_bytes().replace(before, after))
    assert list(ledger.records(store)) == []


def test_a_record_of_an_older_version_counts(store):
    unit = written(store, 0)
    path = store / "ledger/unit-000000.json"
    record = json.loads(path.read_bytes())
    del record["record_sha256"]
    path.write_text(json.dumps(record))
    assert list(ledger.records(store)) == [unit]


def test_a_record_of_another_number_or_outside_does_not_count(store):
    unit = written(store, 0)
    (store / "ledger/unit-000000.json").rename(store / "ledger/unit-000001.json")
    assert list(ledger.records(store)) == []
    outside = dataclasses.replace(unit, file=f"../units/{unit.file}")
    assert ledger.verifies(store, outside)
    ledger.record(store, outside)
    assert list(ledger.records(store)) == []


def test_sweeping_leaves_what_counts_and_the_lock(store):
    kept, lost = written(store, 0), written(store, 1, {"a/b": np.zeros(1)})
    (store / "units" / lost.file).write_bytes(b"damaged")
    never_recorded = ledger.write_arrays(store, 2, {"a/b": np.ones(1)}, {})
    (store / "units/12ab.partial").touch()
    (store / "ledger/lock").touch()
    assert ledger.sweep(store) == {0: kept}
    assert listing(store / "units") == [kept.file]
    assert never_recorded.file != kept.file
    assert listing(store / "ledger") == ["lock", "unit-000000.json"]


def test_a_full_disk_leaves_no_file(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        StorageError, match=r"^writing is 'No space left on device'; expected a disk that takes it"
    ):
        ledger.write_arrays(store, 0, ARRAYS, {})
    assert listing(store / "units") == []
