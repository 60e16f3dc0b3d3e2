"""Unfinished stores: their verified units are a smaller study, read as lazily as a complete one."""

import itertools

import numpy as np
import pytest
import xarray as xr
from synthetic import FINGERPRINT
from xarray.core import indexing

from qloc.errors import InputError
from qloc.store.integrity.check import layout_of
from qloc.store.reading.open_store import open_store
from qloc.store.reading.unfinished import UnitsArray, unfinished_groups
from qloc.store.units import ledger
from qloc.store.writing.writer import Writer
from qloc.vocabulary import NO_INDEX


def test_unfinished_store_is_a_smaller_study(tmp_path, study, finished):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        nothing = open_store(store)
        assert (nothing.complete, len(nothing.missing)) == (False, 4)
        assert nothing.queries.sizes["query"] == 0
        assert np.isnan(nothing.floors).all()
        for number in (3, 1):
            writer.write(study.blocks()[number])
        half = open_store(store)
    whole = open_store(finished)
    assert [unit.number for unit in half.missing] == [0, 2]
    rows = [query for unit in (1, 3) for query in range(*queries_of(study, unit))]
    for group in ("queries", "attention"):
        assert getattr(half, group).load().equals(getattr(whole, group).isel(query=rows).load())
    assert half.facts["n_queries"].to_numpy().tolist() == [0, 0, 0, 0, 2, 3, 0, 0, 0, 1]
    assert half.facts["first_query"].to_numpy().tolist() == [-1, -1, -1, -1, 0, 2, -1, -1, -1, 5]
    n_slots = half.signals.sizes["slot"]
    signals, expected = half.signals.load(), whole.signals.isel(query=rows, slot=slice(n_slots)).load()
    there = [3, 4, 5, 9]
    assert signals.isel(fact=there).equals(expected.isel(fact=there))
    assert (signals["panel_neuron"].isel(fact=[0, 1, 2, 6, 7, 8]) == -1).all()
    np.testing.assert_array_equal(np.isnan(half.floors), half.facts["n_queries"] == 0)
    assert half.grams.isel(fact=there).load().equals(whole.grams.isel(fact=there).load())
    one = half.signals["attribution"].isel(query=[5, 0, 0], attribution_method=0)
    np.testing.assert_array_equal(one, signals["attribution"].isel(query=[5, 0, 0], attribution_method=0))
    np.testing.assert_array_equal(half.signals["activation"][-1, ::-2], signals["activation"][-1, ::-2])


def queries_of(study, number):
    unit = study.outline().units[number]
    return unit.first_query, unit.last_query


def test_no_pickle_is_ever_loaded(tmp_path, study):
    """A unit that holds a pickle is data that does not verify; forced in, numpy refuses it."""
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        unit = writer.write(study.blocks()[0])
        with (store / "units" / unit.file).open("wb") as target:
            np.savez(target, allow_pickle=True, **{"queries/rank": np.array([{"a": 1}], dtype=object)})
        assert open_store(store).queries.sizes["query"] == 0


@pytest.fixture(scope="module")
def half(tmp_path_factory, study):
    """Return an unfinished store with units 1 and 3, that no test may change."""
    store = tmp_path_factory.mktemp("half") / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for number in (1, 3):
            writer.write(study.blocks()[number])
    return store


def test_a_store_that_is_completed_meanwhile_is_to_be_opened_again(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for block in study.blocks():
            writer.write(block)
        opened = open_store(store)
        (store / "units").rename(store / "elsewhere")
        with pytest.raises(
            InputError, match=r"^store is 'without unit-\d{6}-[0-9a-f]{16}\.npz'; expected with the"
        ):
            opened.signals["activation"].compute()
        (store / "elsewhere").rename(store / "units")
        writer.finalize()
    with pytest.raises(InputError) as caught:
        opened.signals["activation"].compute()
    assert str(caught.value) == (
        "store is 'completed meanwhile'; expected as unfinished as it was when it was opened. "
        f"At {store}. Open it again."
    )
    assert open_store(store).complete


def whole_array(store, variable, layout, records, n_slots):
    """The array of a variable, made by hand: units side by side, missing rows and slots filled."""
    parts = []
    for unit in layout.units:
        record = records.get(unit.number)
        if record is None and "fact" not in variable.dims:
            continue
        part = np.full(layout.shape(variable, n_slots, unit), np.nan, dtype=object)
        if record is not None:
            with ledger.open_unit(store, record) as opened:
                values = ledger.member(opened, variable)
            part[tuple(slice(n) for n in values.shape)] = values
        parts.append(part)
    return np.concatenate(parts, axis=variable.row)


@pytest.mark.parametrize("path", ["queries/rank", "queries/prompt", "signals/attribution", "grams/gram"])
def test_selections_are_those_of_the_whole_array(half, path):
    layout, records = layout_of(half), {record.number: record for record in ledger.records(half)}
    (variable,) = [v for v in layout.variables() if v.path == path]
    n_slots = max(record.n_slots for record in records.values())
    parts = [(unit, records.get(unit.number)) for unit in layout.units]
    if "fact" not in variable.dims:
        parts = [(unit, record) for unit, record in parts if record is not None]
    array = UnitsArray(half, layout, variable, parts, n_slots)
    expected = whole_array(half, variable, layout, records, n_slots)
    assert array.shape == expected.shape
    assert array.rows == tuple(layout.shape(variable, 0, unit)[variable.row or 0] for unit, _ in parts)
    axis = variable.row
    assert axis is not None
    n = expected.shape[axis]
    rows = (slice(None), slice(1, n - 1), slice(None, None, 2), slice(n, None), 0, n - 1, slice(n - 1, None))
    for row, last in itertools.product(rows, (slice(None), slice(0, 1))):
        key: list[int | slice] = [slice(None)] * expected.ndim
        key[-1] = last
        key[axis] = row
        got = array[indexing.BasicIndexer(tuple(key))]
        wanted = expected[tuple(key)]
        if variable.dtype == "string":
            assert np.asarray(got, dtype=object).tolist() == np.asarray(wanted, dtype=object).tolist()
        else:
            np.testing.assert_array_equal(np.asarray(got, dtype=float), np.asarray(wanted, dtype=float))


def test_only_the_units_that_are_selected_are_read(half, monkeypatch):
    layout, records = layout_of(half), {record.number: record for record in ledger.records(half)}
    (rank,) = [v for v in layout.variables() if v.path == "queries/rank"]
    array = UnitsArray(half, layout, rank, [(layout.units[n], records[n]) for n in (1, 3)], 0)
    opened, open_unit = [], ledger.open_unit

    def watched(store, record):
        opened.append(record.number)
        return open_unit(store, record)

    monkeypatch.setattr(ledger, "open_unit", watched)
    n_first = layout.units[1].n_queries
    for rows, units in (
        (slice(0, n_first), [1]),
        (slice(n_first, None), [3]),
        (slice(None), [1, 3]),
        (slice(0, 0), []),
    ):
        opened.clear()
        array[indexing.BasicIndexer((rows,))]
        assert opened == units


def test_facts_of_missing_units_have_no_queries(half, study):
    layout = layout_of(half)
    facts = xr.open_zarr(half, group="facts", consolidated=False)
    groups, absent = unfinished_groups(half, layout, facts)
    assert [unit.number for unit in absent] == [0, 2]
    assert set(groups) == {"facts", "queries", "signals", "attention", "grams"}
    there = np.isin(np.arange(study.n_facts) // study.unit_facts, (1, 3))
    n_queries = np.where(there, study.n_queries, 0)
    assert groups["facts"]["n_queries"].to_numpy().tolist() == n_queries.tolist()
    first = groups["facts"]["first_query"].to_numpy()
    assert (first[n_queries == 0] == NO_INDEX).all()
    for fact in np.flatnonzero(n_queries):
        rows = slice(first[fact], first[fact] + n_queries[fact])
        assert (groups["queries"]["fact"].to_numpy()[rows] == fact).all()
    assert groups["signals"].attrs == layout.signals_attrs()
