"""Fixtures of the tests of writing: half-made folders, and writes that come late."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr.storage._local as zarr_local
from synthetic import FINGERPRINT, Synthetic

from qloc.errors import StorageError
from qloc.store.writing.writer import Writer


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take fsync out, which guards against loss of power: these tests do not try that."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, study: Synthetic) -> Path:
    """Return an unfinished store with every unit recorded, that no test may change."""
    store = tmp_path_factory.mktemp("recorded") / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
    return store


@pytest.fixture
def as_far_as() -> Callable[[int, Path, list[str], Path], None]:
    """Return a function that leaves what an interrupted run does."""
    return _as_far_as


def _as_far_as(n: int, source: Path, names: list[str], target: Path) -> None:
    """Make the first n files and folders of a source, the last file by half."""
    for name in names[:n]:
        made = target / name
        if (source / name).is_dir():
            made.mkdir(parents=True, exist_ok=True)
        else:
            made.parent.mkdir(parents=True, exist_ok=True)
            content = (source / name).read_bytes()
            made.write_bytes(content[: len(content) // 2] if name == names[n - 1] else content)
            (made.parent / "ab12.partial").write_bytes(b"half")


@pytest.fixture
def late(monkeypatch):
    """Let the write of a path fail at once, those that are under way with it come late; count these.

    zarr writes a group and, where they are not there, those above it together.
    """
    told: dict[str, Any] = {"fails": None, "now": 0, "ever": 0}
    whole, lock = zarr_local._put, threading.Lock()

    def put(path, value, exclusive=False, **others):  # the lowest zarr has a parameter more
        if told["fails"] is None:
            return whole(path, value, exclusive=exclusive, **others)
        if exclusive and path == told["fails"]:
            raise OSError(28, "No space left on device")
        with lock:
            told["now"] += 1
            told["ever"] += 1
        time.sleep(0.2)  # longer than it takes to tell of a failure
        try:
            return whole(path, value, exclusive=exclusive, **others)
        finally:
            with lock:
                told["now"] -= 1

    monkeypatch.setattr(zarr_local, "_put", put)

    def fails(path, call):
        told["fails"] = path
        with pytest.raises(StorageError, match="No space left on device"):
            call()
        assert told["now"] == 0  # else it is made again while the next run clears it away
        assert told["ever"] > 0
        told["fails"] = None

    return fails
