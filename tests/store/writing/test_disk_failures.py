"""What disks, users and clocks do to an extraction: it is refused with the reason, and then ends as if nothing was."""

import ast
import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
import synthetic_phase
from synthetic import FINGERPRINT, write_store

from qloc.errors import StorageError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.repair.whole_store import Repair
from qloc.store.schema import manifest
from qloc.store.writing.writer import Writer, write_unit

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = Path(__file__).resolve().parents[1] / "support"
NOBODY = 65534


def objects(store):
    return manifest.read(store)["objects"]


def state(folder):
    """Every name in a folder, with its bytes if it is a file."""
    paths = sorted(folder.rglob("*"))
    return {p.relative_to(folder).as_posix(): p.is_file() and p.read_bytes() for p in paths}


def write_all(writer, study):
    for unit in writer.missing():
        writer.write(study.block(unit))
    writer.finalize({"device": "cpu"})


# A disk that takes no more, for whoever may not mount one


@contextmanager
def files_of_at_most(size):
    """A write past so many bytes of a file fails, as on a full disk: errno EFBIG in place of ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(call):
    with pytest.raises(StorageError) as caught:
        call()
    text = str(caught.value)
    assert text.startswith("writing is 'File too large'; expected a disk that takes it. At "), text
    assert text.endswith(
        ". Make room or mend the disk and run the same command again: what was recorded is kept."
    )


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path, study):
    with files_of_at_most(100):
        refused(lambda: Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_at_any_stage_loses_nothing(tmp_path, study, finished):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        first, second, *_ = writer.missing()
        size = (store / "units" / writer.write(study.block(first)).file).stat().st_size
        with files_of_at_most(size // 2):
            refused(lambda: writer.write(study.block(second)))
        record = write_unit(store, study.block(second))
        with files_of_at_most(50):  # its file is there, but not its record
            refused(lambda: writer.record(record))
        assert [unit.number for unit in writer.missing()] == [1, 2, 3]
        assert not list(store.rglob("*.partial"))
    for limit in (300, 2_000, 8_000, 20_000):  # metadata, arrays, consolidated metadata, the manifest
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            for unit in writer.missing():
                writer.write(study.block(unit))
            with files_of_at_most(limit):
                refused(lambda: writer.finalize({"device": "cpu"}))
        assert not (store / "manifest.json").exists()
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert writer.missing() == ()
        writer.finalize({"device": "cpu"})
    assert objects(store) == objects(finished)
    assert verify(store) == []


def test_a_repair_on_a_full_disk_loses_nothing(copy, finished, study):
    names = ("signals/gradient/c/0/0", "zarr.json")
    for name in names:
        os.truncate(copy / name, 7)
    before = state(copy)
    with files_of_at_most(1_000):
        refused(lambda: Repair.open(copy))
    assert state(copy) == before
    with Repair.open(copy) as repair:
        (stage,) = repair.stages
        units = [study.block(unit) for unit in stage.units]
        with files_of_at_most(1_000):
            refused(lambda: stage.put(units[0]))
        for block in units:
            stage.put(block)
        with files_of_at_most(1_000):
            refused(lambda: repair.settle(stage))
    with Repair.open(copy) as repair:
        (stage,) = repair.stages
        assert stage.units == ()  # they are kept
        repair.settle(stage)
        repair.finish()
    assert state(copy) == state(finished)


# A folder that may be read only


@pytest.fixture
def shut():
    """Give a folder in which nobody may write, and what makes us nobody: root heeds no permissions."""
    folder = Path(tempfile.mkdtemp(prefix="qloc-shut-"))

    @contextmanager
    def as_nobody():
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            for path in (folder, *folder.rglob("*")):
                path.chmod(path.stat().st_mode | stat.S_IWUSR)

    yield folder, as_nobody
    shutil.rmtree(folder)


def denied(call):
    with pytest.raises(StorageError) as caught:
        call()
    assert str(caught.value).startswith("writing is 'Permission denied'; expected a disk that takes it. At ")


def test_a_folder_that_may_only_be_read(shut, study, finished):
    folder, as_nobody = shut
    begun, whole, broken = (folder / f"{name}.zarr" for name in ("begun", "whole", "broken"))
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        writer.write(study.block(writer.missing()[0]))
    shutil.copytree(finished, whole)
    shutil.copytree(finished, broken)
    (broken / "queries/rank/c/0").unlink()
    open_store(whole).signals["attribution"].load()  # whatever is imported for it is imported now
    with Repair.open(broken) as repair:
        assert len(repair.stages[0].units) == 4
    before = state(folder)
    with as_nobody():
        denied(lambda: Writer.open(folder / "new.zarr", study.outline(), FINGERPRINT))
        denied(lambda: Writer.open(begun, study.outline(), FINGERPRINT))
        denied(lambda: Repair.open(broken))
        # What only reads works, as does the command that has nothing left to do.
        assert len(open_store(begun).missing) == 3
        assert open_store(whole).signals["attribution"].load().shape[1] == 16
        assert verify(whole) == []
        assert len(verify(broken)) == 1
        assert Writer.open(whole, study.outline(), FINGERPRINT).complete
    assert state(folder) == before
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 3
        write_all(writer, study)
    assert objects(begun) == objects(finished)


# Two at once


def test_two_extractions_at_once(tmp_path, finished):
    """Both begin with nothing there; whoever is second is refused, or finds the store complete."""
    store = tmp_path / "s.zarr"
    command = [sys.executable, str(SUPPORT / "killed_writer.py"), "write", str(store), "0.2"]
    running = [
        forked.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [(one.communicate(timeout=120), one.returncode) for one in running]
    assert [code for _, code in said].count(0) >= 1
    for (_, error), code in said:
        assert code == 0 or "LockedError: store is 'locked'; expected no other process writing it" in error
    assert objects(store) == objects(finished)
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


# Clocks


CLOCK = """
import datetime, sys, time
shift = float(sys.argv.pop(1))
real = time.time
time.time = lambda: real() + shift
time.time_ns = lambda: int((real() + shift) * 1e9)
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = Shifted
sys.argv.pop(0)
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import killed_writer
from pathlib import Path
killed_writer.write(Path(sys.argv[2]), 0.1)
"""


def test_no_clock_matters(tmp_path, finished):
    """Begun in the future, killed, all files dated 1970 or 2100, gone on with in the past."""
    store, years = tmp_path / "s.zarr", 365 * 86400.0

    def run(shift):
        arguments = [str(shift), str(SUPPORT / "killed_writer.py"), "write", str(store)]
        return forked.Popen([sys.executable, "-c", CLOCK, *arguments], stdout=subprocess.PIPE, text=True)

    with run(30 * years) as begun:
        assert begun.stdout is not None
        begun.stdout.readline()
        begun.kill()
    assert begun.wait() == -9
    assert not (store / "manifest.json").exists()
    for n, path in enumerate(store.rglob("*")):
        os.utime(path, (n % 2 * 130 * years,) * 2)
    with run(-30 * years) as again:
        units = again.communicate(timeout=120)[0].split()
    assert again.returncode == 0
    assert 0 < len(units) < 4  # it went on
    assert objects(store) == objects(finished)
    for path in store.rglob("*"):
        os.utime(path, (0, 0))
    assert verify(store) == []


def test_the_store_reads_no_clock_and_no_times_of_files():
    clocks = {
        "time",
        "now",
        "utcnow",
        "today",
        "st_mtime",
        "st_mtime_ns",
        "st_ctime",
        "st_atime",
        "getmtime",
        "utime",
    }
    modules = sorted((ROOT / "store").rglob("*.py"))
    assert len(modules) > 40
    for path in modules:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        if path.name == "object_store.py":  # ends servers that drip: by a clock that knows no date
            names = {ast.unparse(node) for node in attributes if ast.unparse(node).startswith("time.")}
            assert names == {"time.monotonic"}
            continue
        used = {node.attr for node in attributes}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                used |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                used |= {node.module or "", *(name.name for name in node.names)}
        assert used & clocks == set(), path


def test_where_there_are_no_locks_nothing_is_begun_and_nothing_left(tmp_path, study, copy, monkeypatch):
    before = state(tmp_path)

    def none(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("qloc.store.files.lock.fcntl.flock", none)
    for call in (
        lambda: write_store(tmp_path / "new.zarr", study),
        lambda: Repair.open(copy),
        lambda: synthetic_phase.append(copy, "edits"),
    ):
        with pytest.raises(StorageError, match=r"^lock is 'No locks available'"):
            call()
        assert state(tmp_path) == before
