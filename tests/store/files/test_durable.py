"""Files are whole or not there, and errors of the disk say what to do."""

import errno
import os
import stat

import pytest
from folders import listing

from qloc.errors import RemoteError, StorageError
from qloc.store.files.durable import PARTIAL, storing, sync_folder, sync_tree, write_aside, write_bytes


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def synced(monkeypatch):
    """Return the inodes that were fsynced, in order."""
    inodes: list[int] = []
    fsync = os.fsync

    def noted(descriptor):
        inodes.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return inodes


def test_file_is_written_in_place_of_another_and_nothing_else_is_left(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert listing(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_where_folders_cannot_be_flushed_files_are_all_the_same(tmp_path, monkeypatch, number):
    """As on SMB and FUSE; an error of the disk is told."""
    fsync = os.fsync

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    if number == errno.EIO:
        with pytest.raises(StorageError, match="Input/output error"):
            write_bytes(tmp_path / "a", b"new")
    else:
        write_bytes(tmp_path / "a", b"new")
        sync_tree(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: files_only(os.open("/", os.O_RDONLY)))
    with pytest.raises(StorageError, match=r"^writing is '.*'; expected a disk that takes it\."):
        write_bytes(tmp_path / "b", b"new")


def test_file_and_then_its_folder_are_fsynced(tmp_path, synced):
    write_bytes(tmp_path / "a", b"content")
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch, step):
    write_bytes(tmp_path / "a", b"old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(StorageError) as caught:
        write_bytes(tmp_path / "a", b"new")
    where = str(caught.value).partition(" At ")[2].partition(". Make")[0]
    assert where.startswith(f"{tmp_path}/")
    assert str(caught.value) == (
        f"writing is 'No space left on device'; expected a disk that takes it. At {where}. "
        "Make room or mend the disk and run the same command again: what was recorded is kept."
    )
    assert (tmp_path / "a").read_bytes() == b"old"
    if step == "fsync":
        assert listing(tmp_path) == ["a"]


def test_file_written_aside_has_a_name_of_its_own(tmp_path):
    made = [write_aside(tmp_path, lambda target: None) for _ in range(3)]
    assert listing(tmp_path) == sorted(path.name for path in made)
    assert all(path.name.endswith(PARTIAL) for path in made)


def test_nothing_is_left_where_writing_raises(tmp_path):
    def write(target):
        target.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_aside(tmp_path, write)
    assert listing(tmp_path) == []


def test_errors_that_say_what_to_do_pass_through(tmp_path):
    for error in (StorageError("disk"), RemoteError("service"), ValueError("other")):
        with pytest.raises(type(error)) as caught, storing(tmp_path):
            raise error
        assert caught.value is error


def test_error_without_words_of_the_system_is_told_as_it_is(tmp_path):
    with pytest.raises(StorageError, match=r"^writing is 'odd'; "), storing(tmp_path):
        raise OSError("odd")


def test_every_file_and_folder_of_a_tree_is_fsynced(tmp_path, synced):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"1")
    (tmp_path / "top").write_bytes(b"2")
    sync_tree(tmp_path)
    everything = [tmp_path, *tmp_path.rglob("*")]
    assert sorted(synced) == sorted(path.stat().st_ino for path in everything)
    synced.clear()
    sync_folder(tmp_path / "a")
    assert synced == [(tmp_path / "a").stat().st_ino]
