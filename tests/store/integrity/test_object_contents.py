"""Contents: the array, cells, rows and units of every object, against counting row by row."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from synthetic import write_store

from qloc.store.integrity.object_contents import Contents
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory, study):
    """Return a store of many small shards, that no test may change."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
        return write_store(tmp_path_factory.mktemp("sharded") / "s.zarr", study)


def pieces(store):
    """The objects of each array."""
    found: dict[str, list[str]] = {}
    for name in manifest.objects(store):
        array, slash, _ = name.partition("/c/")
        if slash:
            found.setdefault(array, []).append(name)
    return found


def test_regions_part_each_array(sharded):
    contents, n_pieces = Contents(sharded), 0
    for array, names in pieces(sharded).items():
        covered = np.zeros(zarr.open_array(sharded / array, mode="r").shape, dtype=int)
        for name in names:
            region = contents.region(name)
            assert region is not None
            covered[region] += 1
        assert (covered == 1).all(), array
        n_pieces += len(names)
    assert n_pieces > 60


def test_units_are_those_of_the_rows(sharded, study):
    """Row by row: which unit each query and each fact is in."""
    contents = Contents(sharded)
    unit_of = {"fact": np.arange(study.n_facts) // study.unit_facts}
    unit_of["query"] = np.repeat(unit_of["fact"], study.n_queries)
    n_parts = 0
    for array, names in pieces(sharded).items():
        dims = zarr.open_array(sharded / array, mode="r").metadata.to_dict()["dimension_names"]
        assert isinstance(dims, (list, tuple))
        row = next((d for d, dim in enumerate(dims) if dim in ("query", "fact")), None)
        for name in names:
            numbers = [unit.number for unit in contents.units(name)]
            if row is None or array.startswith("facts/"):
                assert numbers == [], name
                continue
            region = contents.region(name)
            assert region is not None
            assert numbers == sorted(set(unit_of[str(dims[row])][region[row]].tolist())), name
            n_parts += len(numbers) < 4
    assert n_parts > 10


def test_words_for_every_kind_of_object(sharded):
    contents = Contents(sharded)
    assert contents.words("README.md") == "the card"
    assert contents.words("zarr.json") == "metadata of the root"
    assert contents.words("queries/zarr.json") == "metadata of queries"
    assert contents.words("queries/rank/zarr.json") == "metadata of queries/rank"
    assert contents.words("queries/rank/c/0") == "array queries/rank, queries 0 to 15 (units 0 to 3)"
    assert contents.words("facts/subject/c/0") == "array facts/subject, facts 0 to 9"
    assert contents.words("grams/gram/c/0/0/0/0") == "array grams/gram, facts 0 to 9 (units 0 to 3)"
    assert contents.words("signals/attribution_method/c/0") == "array signals/attribution_method"
    assert contents.words("later/array/c/0") == "array later/array"


def test_what_is_no_piece_of_an_array_has_no_cells(sharded):
    contents = Contents(sharded)
    for name in ("README.md", "queries/zarr.json", "queries/rank/c/x", "queries/rank/c/0/0", "no/array/c/0"):
        assert contents.region(name) is None, name
        assert contents.units(name) == (), name
    assert contents.variable("queries/rank/zarr.json") is None
    assert contents.variable("later/array/c/0") is None
    variable = contents.variable("queries/rank/c/0")
    assert variable is not None
    assert (variable.path, variable.dims) == ("queries/rank", ("query",))


def test_where_the_root_is_lost_arrays_are_still_named(finished, tmp_path):
    store = Path(shutil.copytree(finished, tmp_path / "s.zarr"))
    (store / "zarr.json").unlink()
    contents = Contents(store)
    assert contents.layout is None
    assert contents.words("queries/rank/c/0") == "array queries/rank"
    assert contents.words("facts/id/c/0") == "array facts/id, facts 0 to 9"
    assert contents.units("queries/rank/c/0") == ()


def test_rows_and_units_of_a_shard_are_named(sharded, tmp_path):
    store = Path(shutil.copytree(sharded, tmp_path / "s.zarr"))
    flip(store / "signals/attribution/c/0/1/0", 9)
    assert verify(store)[0].startswith("array signals/attribution, queries 6 to 11 (units 1 to 2) is 'sha256")
    (store / "zarr.json").write_bytes(b"")
    problems = verify(store)
    assert problems[0].startswith("array signals/attribution is 'sha256")
    assert problems[1].startswith("metadata of the root is '0 bytes'")
