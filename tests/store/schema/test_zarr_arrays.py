"""Arrays of the store: how they are cut, what is in their metadata, and that what is written is compared."""

import asyncio
import json
import re

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.sync import sync

from qloc.canonical_json import canonical
from qloc.errors import StorageError, VerificationError
from qloc.store.schema import zarr_arrays
from qloc.store.schema.variables import Variable


def variable(*dims, dtype="float32", group="signals", name="x"):
    return Variable(group=group, name=name, dims=dims, dtype=dtype, meaning="made up")


@pytest.mark.parametrize("dtype", ["int8", "float16", "int32", "float32", "float64"])
def test_arrays_are_the_same_bit_by_bit_or_not_at_all(dtype):
    values = np.array([[0, 1], [2, 3]], dtype=dtype)
    assert zarr_arrays.same(values.copy(), values)
    assert zarr_arrays.same(np.asfortranarray(values), values)
    other = values.copy()
    other.view(np.uint8)[0, 0] ^= 1
    assert not zarr_arrays.same(other, values)
    assert not zarr_arrays.same(values.reshape(-1), values)
    if np.dtype(dtype).kind == "f":
        assert zarr_arrays.same(values * np.nan, values * np.nan)
        assert not zarr_arrays.same(-values, values)  # −0 is another zero
    else:
        assert not zarr_arrays.same(values.astype("int64"), values)


def test_strings_are_the_same_by_their_text():
    texts = np.array(["a", "Çity"], dtype=object)
    assert zarr_arrays.same(np.array(["a", "Çity"], dtype=object), texts)
    assert not zarr_arrays.same(np.array(["a", "City"], dtype=object), texts)
    assert not zarr_arrays.same(np.array(["a"], dtype=object), texts)


def test_chunks_and_shards_by_hand():
    """1,000 float32 a row: 65 rows a chunk of 2**18 bytes, 129 chunks a shard of 2**25 bytes."""
    signal = variable("query", "slot")
    assert zarr_arrays.grid(signal, "float32", (10_000, 1000)) == ((65, 1000), (65 * 129, 1000))
    assert zarr_arrays.grid(signal, "float32", (40, 1000)) == ((40, 1000), None)
    # One method a chunk and a shard; a row longer than a chunk is a chunk of its own.
    method = variable("attribution_method", "query", "slot")
    assert zarr_arrays.grid(method, "float32", (2, 10_000, 1000)) == ((1, 65, 1000), (1, 65 * 129, 1000))
    assert zarr_arrays.grid(signal, "float32", (3, 10**6)) == ((1, 10**6), (3, 10**6))
    assert zarr_arrays.grid(signal, "float32", (30, 10**6)) == ((1, 10**6), (8, 10**6))
    # A string counts as 64 bytes; nothing at all is one chunk.
    assert zarr_arrays.grid(variable("query"), "string", (10_000,)) == ((4096,), (4096 * 3,))
    assert zarr_arrays.grid(signal, "float32", (0, 0)) == ((1, 1), None)


@given(n_methods=st.integers(1, 3), n_rows=st.integers(1, 10**7), n_slots=st.integers(1, 10**6))
def test_shards_are_whole_chunks_within_their_sizes(n_methods, n_rows, n_slots):
    shape = (n_methods, n_rows, n_slots)
    chunks, shards = zarr_arrays.grid(variable("attribution_method", "query", "slot"), "float64", shape)
    assert (chunks[0], chunks[2]) == (1, n_slots)
    assert 1 <= chunks[1] <= n_rows
    assert chunks[1] == 1 or int(np.prod(chunks)) * 8 <= zarr_arrays.CHUNK_BYTES
    if shards is None:
        assert chunks[1] == n_rows or int(np.prod(chunks)) * 8 * 2 > zarr_arrays.SHARD_BYTES
        return
    assert (shards[0], shards[2], shards[1] % chunks[1]) == (1, n_slots, 0)
    assert shards[1] < n_rows + chunks[1]
    assert int(np.prod(shards)) * 8 <= zarr_arrays.SHARD_BYTES


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", np.nan), ("int32", -1), ("int8", -1), ("string", "")]
)
def test_new_array_is_full_of_missing_values(tmp_path, dtype, expected):
    group = zarr.create_group(tmp_path)
    made = zarr_arrays.create(group, variable("query", dtype=dtype), dtype, (4,))
    assert made.name == "/x"
    assert made.metadata.to_dict()["dimension_names"] == ("query",)
    assert dict(made.attrs) == {"long_name": "made up"}
    np.testing.assert_array_equal(zarr_arrays.stored(tmp_path / "x"), np.array([expected] * 4))


def test_region_is_written_and_read_back(tmp_path):
    array = zarr_arrays.create(zarr.create_group(tmp_path), variable("query", "slot"), "float32", (4, 3))
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    zarr_arrays.put(array, (slice(1, 3),), values)
    np.testing.assert_array_equal(zarr_arrays.stored(tmp_path / "x", (slice(1, 3), slice(0, 3))), values)
    assert np.isnan(zarr_arrays.stored(tmp_path / "x")[[0, 3]]).all()


def test_strings_come_back_as_objects(tmp_path):
    array = zarr_arrays.create(zarr.create_group(tmp_path), variable("query", dtype="string"), "string", (2,))
    zarr_arrays.put(array, (slice(0, 2),), np.array(["Çity", ""], dtype=object))
    found = zarr_arrays.stored(tmp_path / "x")
    assert (found.dtype, found.tolist()) == (np.dtype(object), ["Çity", ""])


def test_what_is_read_back_otherwise_is_refused(tmp_path):
    class Forgetful:
        """An array that a broken disk holds: it keeps nothing."""

        store_path = "file://s.zarr/signals/x"

        def __setitem__(self, region, values):
            pass

        def __getitem__(self, region):
            return np.zeros(2, dtype=np.float32)

    with pytest.raises(StorageError) as caught:
        zarr_arrays.put(Forgetful(), (slice(4, 6),), np.ones(2, dtype=np.float32))  # type: ignore[arg-type]  # stands in
    assert str(caught.value) == (
        "what was read back is 'different'; expected what was written. At file://s.zarr/signals/x, rows 4 to 6. "
        "Check the disk and run the same command again."
    )


def test_a_flipped_bit_in_a_chunk_is_found_by_its_checksum(tmp_path):
    array = zarr_arrays.create(zarr.create_group(tmp_path), variable("query"), "int32", (4,))
    zarr_arrays.put(array, (slice(0, 4),), np.arange(4, dtype=np.int32))
    chunk = tmp_path / "x/c/0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match=re.compile("checksum", re.I)):
        zarr_arrays.stored(tmp_path / "x")


def test_metadata_but_for_the_roots_become_canonical(tmp_path):
    group = zarr.create_group(tmp_path).create_group("signals")
    zarr_arrays.create(group, variable("query"), "float32", (4,))
    paths = [tmp_path / "signals/zarr.json", tmp_path / "signals/x/zarr.json"]
    before = [json.loads(path.read_bytes()) for path in paths]
    root = (tmp_path / "zarr.json").read_bytes()
    assert paths[0].read_bytes() != canonical(before[0])
    zarr_arrays.settle_metadata(tmp_path)
    assert [path.read_bytes() for path in paths] == [canonical(content) for content in before]
    assert (tmp_path / "zarr.json").read_bytes() == root


def test_nothing_is_written_after_a_failure():
    """Writes that zarr has begun, and does not wait for where another fails, are over when the block is left."""
    ended = []

    async def slow():
        await asyncio.sleep(0.05)
        ended.append("slow")

    async def begin():
        tasks.append(asyncio.create_task(slow()))

    tasks: list[asyncio.Task[None]] = []

    def fails():
        with zarr_arrays.whole_writes():
            sync(begin())
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fails()
    assert ended == ["slow"]


def test_what_cannot_be_read_is_told_in_the_house_form(tmp_path):
    group = zarr.create_group(tmp_path)
    array = zarr_arrays.create(group, variable("query", name="rank"), "int32", (3,))
    array[...] = 1
    chunk = tmp_path / "rank/c/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(VerificationError) as caught:
        zarr_arrays.stored(tmp_path / "rank")
    text = str(caught.value)
    assert text.startswith('array rank is "unreadable (ValueError: ')
    assert text.endswith(
        f"; expected what qloc wrote. At {tmp_path}/rank. Run qloc store verify on the store."
    )
    (tmp_path / "rank/zarr.json").write_bytes(b"{")
    with pytest.raises(VerificationError, match=r"^array rank is 'unreadable"):
        zarr_arrays.stored(tmp_path / "rank")
    with pytest.raises(MemoryError), zarr_arrays.reading("array", "s.zarr"):
        raise MemoryError
