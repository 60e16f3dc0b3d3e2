"""Unit files mapped into memory against np.load."""

from typing import Any

import numpy as np
import pytest

from qloc.store.files.npz_mmap import MappedUnit

MEMBERS: dict[str, Any] = {
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
    np.savez(tmp_path / "unit.npz", allow_pickle=False, **MEMBERS)
    with pytest.raises(ValueError, match="read-only"):
        MappedUnit(tmp_path / "unit.npz")["queries/known"][0] = 0


def test_a_name_that_is_not_there_is_a_key_error(tmp_path):
    np.savez(tmp_path / "unit.npz", allow_pickle=False, **MEMBERS)
    with pytest.raises(KeyError, match="other"):
        MappedUnit(tmp_path / "unit.npz")["other"]
