"""Files and folders are there when they are whole; what an interrupted run left is cleared away or gone on with."""

import errno
import os
import stat

import pytest
from folders import listing

from qloc.errors import InputError, LockedError, StorageError
from qloc.store.files.staging import empty, file_aside, folder_aside, hold, refuse_present


def test_folder_is_there_at_the_end_only(tmp_path):
    with folder_aside(tmp_path / "out") as aside:
        assert aside == tmp_path / ".out.partial"
        (aside / "file").write_bytes(b"1")
        assert listing(tmp_path) == [".out.partial"]
    assert listing(tmp_path) == ["out"]
    assert (tmp_path / "out/file").read_bytes() == b"1"


def test_file_is_there_at_the_end_only(tmp_path):
    with file_aside(tmp_path / "out") as aside:
        aside.write_bytes(b"1")
        assert listing(tmp_path) == [".out.partial"]
    assert listing(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"1"


@pytest.mark.parametrize("making", [folder_aside, file_aside])
def test_nothing_is_left_where_making_fails(tmp_path, making):
    with pytest.raises(KeyboardInterrupt), making(tmp_path / "out"):
        raise KeyboardInterrupt
    assert listing(tmp_path) == []
    with (
        pytest.raises(StorageError, match=rf"^writing is 'odd'; expected .* At {tmp_path}/out\. "),
        making(tmp_path / "out"),
    ):
        raise OSError("odd")
    assert listing(tmp_path) == []


def test_folder_is_kept_where_it_is_to_be_gone_on_with(tmp_path):
    def half():
        with folder_aside(tmp_path / "out", keep=True) as aside:
            (aside / "first").touch()
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        half()
    assert listing(tmp_path) == [".out.partial"]
    with folder_aside(tmp_path / "out", keep=True) as aside:
        assert listing(aside) == ["first"]
    assert listing(tmp_path) == ["out"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".out.partial/inner").mkdir(parents=True)
    (tmp_path / ".out.partial/file").touch()
    with folder_aside(tmp_path / "out") as aside:
        assert listing(aside) == []
    (tmp_path / ".other.partial").write_bytes(b"long litter")
    with file_aside(tmp_path / "other") as aside:
        aside.open("r+b").close()
    assert (tmp_path / "other").read_bytes() == b""


@pytest.mark.parametrize("making", [folder_aside, file_aside])
def test_one_process_makes_a_path(tmp_path, making):
    with making(tmp_path / "out"), pytest.raises(LockedError) as caught, making(tmp_path / "out"):
        pass
    assert str(caught.value) == (
        f"path is 'being written'; expected no other process writing it. At {tmp_path}/out. "
        "Wait for it to end, or stop it."
    )
    assert listing(tmp_path) == ["out"]


def test_a_lock_on_a_folder_is_released(tmp_path):
    for _ in range(2):
        hold(tmp_path, tmp_path / "out").release()


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
@pytest.mark.parametrize("making", [folder_aside, file_aside])
def test_what_is_there_is_refused(tmp_path, making, kind):
    out = tmp_path / "out"
    {"file": out.touch, "folder": out.mkdir, "dangling link": lambda: out.symlink_to("nothing")}[kind]()
    with pytest.raises(InputError) as caught, making(out):
        pass
    assert str(caught.value) == f"path is 'there already'; expected nothing yet. At {out}. Give another OUT."
    assert listing(tmp_path) == ["out"]


def test_no_folder_to_write_into_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        refuse_present(tmp_path / "none/out")
    assert (
        str(caught.value)
        == f"folder is 'missing'; expected a folder to write into. At {tmp_path}/none. Make it."
    )


def test_emptying_follows_no_links(tmp_path):
    kept, folder = tmp_path / "kept", tmp_path / "folder"
    kept.mkdir()
    (kept / "file").touch()
    (folder / "inner").mkdir(parents=True)
    (folder / "link").symlink_to(kept)
    (folder / "file").touch()
    empty(folder)
    assert listing(folder) == []
    assert listing(kept) == ["file"]


def test_file_gets_the_mode_that_other_files_get(tmp_path):
    (tmp_path / "plain").touch()
    with file_aside(tmp_path / "out"):
        pass
    assert stat.S_IMODE(os.stat(tmp_path / "out").st_mode) == stat.S_IMODE(
        os.stat(tmp_path / "plain").st_mode
    )


@pytest.mark.parametrize("make", [folder_aside, file_aside])
def test_a_link_at_the_temporary_name_is_not_followed(tmp_path, make):
    """Somebody who guesses the name would have what it leads to emptied."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").write_text("kept")
    for where in ("target", "target/kept", "nowhere"):
        aside = tmp_path / ".x.partial"
        aside.symlink_to(tmp_path / where)
        with pytest.raises(InputError, match="path is 'a link'; expected nothing"), make(tmp_path / "x"):
            pass
        assert aside.is_symlink()
        aside.unlink()
    assert (tmp_path / "target" / "kept").read_text() == "kept"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("making", [folder_aside, file_aside])
def test_nothing_is_left_where_there_are_no_locks(tmp_path, making, monkeypatch):
    """But for what an earlier run left, on a file system that had them."""

    def none(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("qloc.store.files.lock.fcntl.flock", none)
    with pytest.raises(StorageError, match=r"^lock is 'No locks available'"), making(tmp_path / "out"):
        pass
    assert listing(tmp_path) == []
    kept = tmp_path / ".out.partial" if making is file_aside else tmp_path / ".out.partial/kept"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"1")
    with pytest.raises(StorageError, match=r"^lock is"), making(tmp_path / "out"):
        pass
    assert kept.read_bytes() == b"1"
