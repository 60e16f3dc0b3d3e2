"""Unfinished stores: their verified units are a smaller study, read as lazily as a complete one."""

import numpy as np
from synthetic import FINGERPRINT

from qloc.store.reading.open_store import open_store
from qloc.store.writing.writer import Writer


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
            np.savez(target, **{"queries/rank": np.array([{"a": 1}], dtype=object)})
        assert open_store(store).queries.sizes["query"] == 0
