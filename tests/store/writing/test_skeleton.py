"""Groups made where an earlier run left them half made: whatever it left, and however late it wrote it."""

import shutil
import threading
import time

import pytest
import zarr.storage._local as zarr_local
from synthetic import FINGERPRINT
from synthetic_phase import block, fingerprint, outline

from qloc.errors import StorageError
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest
from qloc.store.writing.phase_writer import PhaseWriter
from qloc.store.writing.writer import Writer


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch):
    """Loss of power is not tried here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def as_far_as(n, source, names, target):
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


@pytest.mark.parametrize("backwards", [False, True], ids=["parents first", "children first"])
def test_every_prefix_of_a_skeleton_is_gone_on_with(tmp_path, study, backwards):
    whole, store, aside = (tmp_path / name for name in ("whole.zarr", "s.zarr", ".s.zarr.new"))
    with Writer.open(whole, study.outline(), FINGERPRINT):
        pass
    names = sorted((p.relative_to(whole).as_posix() for p in whole.rglob("*")), reverse=backwards)
    assert len(names) > 40
    for n in range(0, len(names) + 1, 3 if backwards else 1):
        as_far_as(n, whole, names, aside)
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            assert len(writer.missing()) == 4
        assert contents(store) == contents(whole), names[:n]
        assert not aside.exists()
        shutil.rmtree(store)


@pytest.mark.parametrize("backwards", [False, True], ids=["parents first", "children first"])
def test_prefixes_of_assembling_are_gone_on_with(tmp_path, study, finished, backwards):
    begun, store = tmp_path / "begun.zarr", tmp_path / "s.zarr"
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
    groups = [path for path in finished.iterdir() if path.is_dir() and path.name != "facts"]
    names = sorted(
        (p.relative_to(finished).as_posix() for group in groups for p in (group, *group.rglob("*"))),
        reverse=backwards,
    )
    for n in range(1, len(names), 41):
        shutil.copytree(begun, store)
        as_far_as(n, finished, names, store)
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            writer.finalize()
        assert manifest.read(store)["objects"] == manifest.read(finished)["objects"], names[:n]
        shutil.rmtree(store)


@pytest.fixture
def late(monkeypatch):
    """Let the write of a path fail at once, those that are under way with it come late; count these.

    zarr writes a group and, where they are not there, those above it together.
    """
    told, whole, lock = {"fails": None, "now": 0, "ever": 0}, zarr_local._put, threading.Lock()

    def put(path, value, exclusive=False):
        if told["fails"] is None:
            return whole(path, value, exclusive=exclusive)
        if exclusive and path == told["fails"]:
            raise OSError(28, "No space left on device")
        with lock:
            told["now"] += 1
            told["ever"] += 1
        time.sleep(0.2)  # longer than it takes to tell of a failure
        try:
            return whole(path, value, exclusive=exclusive)
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


def test_nothing_comes_late_where_a_skeleton_fails(late, tmp_path, study):
    late(
        tmp_path / ".s.zarr.new" / "zarr.json",
        lambda: Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT),
    )
    assert list(tmp_path.iterdir()) == []
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4


def test_nothing_comes_late_where_assembling_fails(late, tmp_path, study, finished):
    """Else, run again at once, it met groups: zarr's ContainsGroupError."""
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        late(store / "zarr.json", writer.finalize)
        writer.finalize()
    assert manifest.read(store)["objects"] == manifest.read(finished)["objects"]


def test_nothing_comes_late_where_a_phase_fails(late, copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        for unit in writer.missing():
            writer.write(block("edits", unit))
        late(copy / "appending" / "edits" / "assembled" / "zarr.json", writer.finalize)
        assert verify(copy) == []
        writer.finalize()
    assert verify(copy) == []
