"""Names that others can guess: what somebody put there is neither followed, emptied nor overwritten."""

import os

import pytest

from qloc.errors import InputError
from qloc.store.files.own_names import own_file, own_folder, remove


@pytest.fixture
def target(tmp_path):
    """Return a folder with a file, to which links lead."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").write_text("kept")
    return tmp_path / "target"


def told(make, path):
    with pytest.raises(InputError) as caught:
        make(path)
    return str(caught.value)


def test_a_folder_is_made_or_taken(tmp_path):
    own_folder(tmp_path / "x")
    (tmp_path / "x" / "left").touch()
    own_folder(tmp_path / "x")
    assert (tmp_path / "x" / "left").exists()


def test_a_file_is_made_or_taken(tmp_path):
    for expected in (b"", b"left"):
        descriptor = own_file(tmp_path / "x")
        assert os.read(descriptor, 9) == expected
        os.write(descriptor, b"left")
        os.close(descriptor)
        (tmp_path / "x").write_bytes(b"left")


@pytest.mark.parametrize("where", ["target", "target/kept", "nowhere"])
def test_links_are_refused(tmp_path, target, where):
    (tmp_path / "x").symlink_to(tmp_path / where)
    for make, kind in ((own_folder, "a folder"), (own_file, "a file")):
        assert told(make, tmp_path / "x") == (
            f"path is 'a link'; expected nothing, or {kind} that an interrupted run left. At {tmp_path}/x. "
            "Look at what it is, and remove it."
        )
    assert not (tmp_path / "nowhere").exists()
    assert (target / "kept").read_text() == "kept"


def test_other_kinds_are_refused(tmp_path, target):
    os.mkfifo(tmp_path / "fifo")
    os.link(target / "kept", tmp_path / "hard")
    assert "path is 'a special file'" in told(own_file, tmp_path / "fifo")
    assert "path is 'a file with another name too'" in told(own_file, tmp_path / "hard")
    assert "path is 'a folder'" in told(own_file, target)
    (tmp_path / "file").touch()
    assert "path is 'a file'" in told(own_folder, tmp_path / "file")


def test_what_is_somebody_elses_is_refused_where_others_write(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    own_folder(tmp_path / "folder")  # in a folder of ours, whatever a network file system calls us
    tmp_path.chmod(0o777)
    for make, name in ((own_folder, "folder"), (own_file, "file")):
        assert told(make, tmp_path / name) == (
            f'path is "somebody else\'s"; expected nothing, or ours. At {tmp_path / name}. '
            "Remove it, or work in a folder that only you can write into."
        )


def test_links_are_removed_and_not_what_they_lead_to(tmp_path, target):
    (tmp_path / "x").symlink_to(target)
    remove(tmp_path / "x")
    assert not (tmp_path / "x").is_symlink()
    remove(target)
    assert not target.exists()
