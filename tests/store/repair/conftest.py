"""Fixtures of the tests of repair: a store of many small shards, and a copy to be damaged."""

import os
import shutil
from pathlib import Path

import pytest
from synthetic import Synthetic, write_store


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take fsync out, which guards against loss of power: hundreds of repairs here do not try that."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def cut(tmp_path_factory: pytest.TempPathFactory, study: Synthetic) -> Path:
    """Return a complete store of many small shards, that no test may change."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
        return write_store(tmp_path_factory.mktemp("cut") / "s.zarr", study)


@pytest.fixture
def damaged(cut: Path, tmp_path: Path) -> Path:
    """Return a copy of the store, to be damaged."""
    return Path(shutil.copytree(cut, tmp_path / "s.zarr"))
