"""Unit files mapped into memory against np.load."""

import numpy as np
import pytest

from qloc.store.files.npz_mmap import MappedUnit
from qloc.store.schema import zarr_arrays

MEMBERS = {
    "signals/attribution": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "queries/known": np.array([1, 0, 1], dtype=np.int8),
    "queries/prompt": np.frombuffer("[\"Çity\"]".encode(), dtype=np.uint8),
    "grams/gram": np.full((1, 2, 2), np.nan),
    "signals/none": np.zeros((2, 0, 4), dtype=np.float16),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "single": np.array(7),
}  # fmt: skip


def test_mapped_members_are_those_that_numpy_reads(tmp_path):
    np.savez(tmp_path / "unit.npz", allow_pickle=False, **MEMBERS)
    with MappedUnit(tmp_path / "unit.npz") as mapped, np.load(tmp_path / "unit.npz") as loaded:
        assert set(loaded.files) == set(MEMBERS)
        for name in MEMBERS:
            got = mapped[name]
            assert type(got) is np.ndarray
            assert (got.dtype, got.shape) == (loaded[name].dtype, loaded[name].shape)
            np.testing.assert_array_equal(got, loaded[name])


def test_mapped_members_cannot_be_written_to(tmp_path):
    np.savez(tmp_path / "unit.npz", **MEMBERS)
    with pytest.raises(ValueError, match="read-only"):
        MappedUnit(tmp_path / "unit.npz")["queries/known"][0] = 0


def test_a_name_that_is_not_there_is_a_key_error(tmp_path):
    np.savez(tmp_path / "unit.npz", **MEMBERS)
    with pytest.raises(KeyError, match="other"):
        MappedUnit(tmp_path / "unit.npz")["other"]


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
