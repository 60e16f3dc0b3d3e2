"""Sums of activations over each relation's queries, streamed through unit files."""

import numpy as np
import pytest
from synthetic import FINGERPRINT, Synthetic, write_store

from qloc.simulation.in_memory_store import datasets_of
from qloc.store.reading.open_store import open_store
from qloc.store.writing.writer import Writer

UNIT = 2.0**-24
"""Rounding to float32: the sums differ by the order of additions in float64 only."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shard_bytes", "n_shards"), [(2**25, 1), (350, 2)], ids=["one shard", "a shard a relation"]
)
def test_sums_are_those_of_all_queries_at_once(tmp_path, monkeypatch, dtype, shard_bytes, n_shards):
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", min(shard_bytes, 2**18))
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", shard_bytes)
    study = Synthetic(n_facts=12, n_layers=2, n_heads=1, n_tokens=2, dtype=dtype)
    found = open_store(write_store(tmp_path / "s.zarr", study)).statistics
    assert found is not None
    blocks = study.blocks()
    relation = np.concatenate([block.queries["relation"] for block in blocks]).astype(str)
    values = np.concatenate([block.activation for block in blocks]).astype(np.float64)
    assert found["relation"].values.tolist() == ["P36", "P37"]
    shards = [path for path in (tmp_path / "s.zarr/statistics/activation_sum/c").rglob("*") if path.is_file()]
    assert len(shards) == n_shards
    for name in ("P36", "P37"):
        rows, here = values[relation == name], found.sel(relation=name)
        assert int(here["n_queries"]) == len(rows) > 5
        for variable, expected in (
            ("activation_sum", rows.sum(0)),
            ("activation_square_sum", (rows**2).sum(0)),
        ):
            np.testing.assert_allclose(here[variable], expected, rtol=UNIT, atol=1e-12)


def test_store_and_memory_agree(tmp_path, study, finished):
    here = datasets_of(study.outline(), study.blocks())["statistics"]
    there = open_store(finished).statistics
    assert there is not None
    there = there.load()
    assert set(here.variables) == set(there.variables)
    np.testing.assert_array_equal(there["n_queries"], here["n_queries"])
    np.testing.assert_array_equal(there["relation"], here["relation"])
    for name in ("activation_sum", "activation_square_sum"):
        assert there[name].dtype == here[name].dtype
        np.testing.assert_allclose(there[name], here[name], rtol=2 * UNIT, atol=1e-12)


def test_relation_of_one_fact_has_none(tmp_path):
    """They are there for means over other facts; a study without relations is not blown up by them."""

    class Lonely(Synthetic):
        def outline(self):
            made = super().outline()
            names = np.array([f"R{max(i, 2)}" for i in range(self.n_facts)])
            return type(made)(**{**vars(made), "facts": {**made.facts, "relation": names}})

        def block(self, unit):
            made = super().block(unit)
            names = np.array([f"R{max(f, 2)}" for f in made.queries["fact"]], dtype=object)
            return type(made)(**{**vars(made), "queries": {**made.queries, "relation": names}})

    study = Lonely(n_facts=7)
    found = open_store(write_store(tmp_path / "s.zarr", study)).statistics
    assert found is not None
    assert found["relation"].values.tolist() == ["R2"]
    block = study.blocks()[0]
    assert int(found["n_queries"][0]) == len(block.activation)
    np.testing.assert_allclose(found["activation_sum"][0], block.activation.sum(0), rtol=UNIT, atol=1e-12)


def test_store_without_two_facts_of_a_relation_has_no_group(tmp_path):
    store = write_store(tmp_path / "s.zarr", Synthetic(n_facts=2))
    assert open_store(store).statistics is None
    assert not (store / "statistics").exists()


def test_unfinished_store_has_none_yet(tmp_path, study):
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT) as writer:
        writer.write(study.blocks()[0])
    assert open_store(tmp_path / "s.zarr").statistics is None
