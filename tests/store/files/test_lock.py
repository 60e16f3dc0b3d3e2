"""One process at a time has a lock, and it is free when that process ends."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from qloc.errors import InputError, LockedError, StorageError
from qloc.store.files.lock import Lock
from qloc.store.files.staging import folder_aside

HOLD = """
import sys
from pathlib import Path
from qloc.store.files.lock import Lock
lock = Lock.take(Path(sys.argv[1]), Path("s"))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_is_held_is_refused_until_it_is_released(tmp_path):
    lock = Lock.take(tmp_path / "lock", tmp_path)
    assert lock is not None
    with pytest.raises(LockedError) as caught:
        Lock.take(tmp_path / "lock", Path("a.zarr"))
    assert str(caught.value) == (
        "store is 'locked'; expected no other process writing it. At a.zarr. Wait for it to end, or stop it."
    )
    lock.release()
    lock.release()
    again = Lock.take(tmp_path / "lock", tmp_path)
    assert again is not None
    again.release()


def test_a_killed_process_holds_nothing(tmp_path):
    with forked.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError):
            Lock.take(tmp_path / "lock", tmp_path)
        process.kill()
    lock = Lock.take(tmp_path / "lock", tmp_path)
    assert lock is not None
    lock.release()


def test_no_folder_for_it_is_no_lock(tmp_path):
    assert Lock.take(tmp_path / "gone/lock", tmp_path) is None


@pytest.mark.parametrize("change", ["unlink", "replace"])
def test_a_file_that_is_moved_away_before_it_is_locked_is_no_lock(tmp_path, monkeypatch, change):
    """Its holder would lock a file that nobody else finds."""
    path, flock = tmp_path / "lock", "qloc.store.files.lock.fcntl.flock"

    def moved(descriptor, operation):
        path.unlink()
        if change == "replace":
            path.touch()

    monkeypatch.setattr(flock, moved)
    assert Lock.take(path, tmp_path) is None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, number):
    def none(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("qloc.store.files.lock.fcntl.flock", none)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageError) as caught:
        Lock.take(tmp_path / "lock", tmp_path)
    assert str(caught.value) == (
        f"lock is {os.strerror(number)!r}; expected a file system on which flock works, so that two processes "
        f"cannot write one store. At {tmp_path}/lock. Write to another file system, such as a local disk, then "
        "copy (docs/store.md#locks)."
    )
    with (
        pytest.raises(StorageError, match=r"^lock is '.*/\.s\.partial\. "),
        folder_aside(tmp_path / "s"),
    ):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_that_cannot_be_opened_is_the_disks_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=rf"^writing is 'Not a directory'; .* At {tmp_path}/file/lock\. "):
        Lock.take(tmp_path / "file" / "lock", tmp_path)


def test_a_path_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(InputError, match=r"^path is 'a folder'; expected nothing, or a file"):
        Lock.take(tmp_path / "lock", tmp_path)
