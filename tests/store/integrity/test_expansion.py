"""Arrays that stand for far more than is stored of them are refused; those that qloc writes are not."""

import json
import math

import numpy as np
import pytest
import zarr

from qloc.canonical_json import canonical
from qloc.store.files.place import Folder
from qloc.store.integrity import expansion
from qloc.store.integrity.verify import sizes_of
from qloc.store.schema import manifest
from qloc.store.schema.phase_variables import TRACING
from qloc.store.schema.zarr_arrays import create


def test_what_qloc_writes_passes(phased):
    assert expansion.problems(Folder(phased), sizes_of(manifest.read(phased)["objects"])) == []


@pytest.fixture
def problems_of(tmp_path):
    """Return the problems of an array of int32 whose one chunk has a thousand bytes."""

    def problems(shape, chunk, *codecs):
        node = {
            "node_type": "array", "shape": shape, "data_type": "int32", "codecs": codecs,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        }  # fmt: skip
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / "zarr.json").write_bytes(canonical(node))
        assert json.loads((tmp_path / "x" / "zarr.json").read_bytes()) == {**node, "codecs": [*codecs]}
        return expansion.problems(Folder(tmp_path), {"x/zarr.json": 9, "x/c/0": 1000})

    return problems


def shard(inner, *codecs):
    names = [{"name": name} for name in codecs]
    return {"name": "sharding_indexed", "configuration": {"chunk_shape": inner, "codecs": names}}


def test_more_bytes_than_stored_ones_can_become(problems_of):
    assert problems_of([2**26], [2**20]) == []  # 2**28 bytes, just so
    (text,) = problems_of([2**30], [2**20])
    assert "size of x is '4294967296 bytes, of which 1000 are stored'; expected at most 268435456" in text


def test_a_phase_of_few_of_many_queries_passes(tmp_path):
    """Of 20,000 queries of a model of 32 layers one was traced; the store has 11 kB of each, as in docs/store.md."""
    variable = next(variable for variable in TRACING if variable.name == "log_odds")
    shape = (3, 6, 32, 11, 20_000)
    array = create(zarr.create_group(tmp_path / "tracing"), variable, "float32", shape)
    array[..., 0] = np.random.default_rng(0).standard_normal(shape[:-1])
    stored = {
        path.relative_to(tmp_path).as_posix(): path.stat().st_size
        for path in (tmp_path / "tracing" / "log_odds").rglob("*")
        if path.is_file()
    }
    assert expansion.MOST_EXPANSION * sum(stored.values()) < 4 * math.prod(shape)
    others = {"signals/attribution/c/0/0/0": 20_000 * 11_000}
    assert expansion.problems(Folder(tmp_path), stored | others) == []
    (alone,) = expansion.problems(Folder(tmp_path), stored)
    assert alone.startswith("size of tracing/log_odds is '506880000 bytes, of which ")


def test_more_chunks_than_are_stored(problems_of):
    assert problems_of([2**16], [1]) == []
    (text,) = problems_of([2**16 + 1], [1])
    assert "number of chunks of x is '65537, of which 1 are stored'" in text


def test_shards_of_very_many_chunks_or_of_shards(problems_of):
    assert problems_of([2**14], [2**14], shard([1], "bytes")) == []
    (many,) = problems_of([2**15], [2**15], shard([1], "bytes"))
    (nested,) = problems_of([4], [4], shard([2], "sharding_indexed"))
    assert "a shard of x is '32768 chunks of bytes'" in many
    assert "a shard of x is '2 chunks of sharding_indexed'" in nested
