"""Chunks that declare more than they hold: refused before room is made for them."""

import struct

import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import Crc32cCodec, ZstdCodec

from qloc.store.schema.bounded_codecs import declared_size
from qloc.store.schema.zarr_arrays import array_at


@pytest.mark.parametrize("n", [0, 5, 255, 256, 65791, 65792, 2**20])
def test_the_declared_size_is_that_of_the_content(n):
    assert declared_size(bytes(Zstd().encode(bytes(n)))[:18]) == n


def test_a_terabyte_is_declared_in_a_few_bytes():
    frame = b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + struct.pack("<Q", 2**40)
    assert declared_size(frame) == 2**40
    assert declared_size(frame[:8]) is None
    assert declared_size(b"\x28\xb5\x2f\xfd\x00\x58") is None  # a window, and no size


def array_of(folder, values, dtype):
    made = zarr.create_array(
        folder / "x", shape=values.shape, dtype=dtype, chunks=values.shape, zarr_format=3,
        compressors=[ZstdCodec(), Crc32cCodec()],
    )  # fmt: skip
    made[:] = values
    return folder / "x" / "c" / "0"


def with_crc(content):
    return content + struct.pack("<I", google_crc32c.value(content))


@pytest.mark.parametrize("size", [17, 2**40])
def test_a_chunk_of_numbers_that_declares_more_is_refused(tmp_path, size):
    chunk = array_of(tmp_path, np.arange(4, dtype=np.int32), "int32")
    np.testing.assert_array_equal(array_at(tmp_path / "x")[:], np.arange(4))
    chunk.write_bytes(with_crc(b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"))
    with pytest.raises(ValueError, match=f"a chunk declares {size} bytes; at most 16 are expected"):
        array_at(tmp_path / "x")[:]


def test_chunks_of_texts_that_declare_more_are_refused(tmp_path):
    chunk = array_of(tmp_path, np.array(["a", "ç"]), "string")
    assert np.asarray(array_at(tmp_path / "x")[:]).tolist() == ["a", "ç"]
    chunk.write_bytes(with_crc(bytes(Zstd().encode(struct.pack("<I", 2**32 - 1)))))
    with pytest.raises(ValueError, match="a chunk declares 4294967295 texts; 2 are expected"):
        array_at(tmp_path / "x")[:]
    bomb = struct.pack("<II", 2, 2**23) + bytes(2**23) + struct.pack("<I", 0)
    chunk.write_bytes(with_crc(bytes(Zstd().encode(bomb))))
    with pytest.raises(ValueError, match=f"a chunk declares {len(bomb)} bytes; at most"):
        array_at(tmp_path / "x")[:]


def test_other_users_of_zarr_keep_its_codecs(tmp_path):
    array_of(tmp_path, np.array(["a"]), "string")
    array_at(tmp_path / "x")
    names = {type(codec).__module__ for codec in zarr.open_array(tmp_path / "x").compressors}
    assert not any(name.startswith("qloc") for name in names)
