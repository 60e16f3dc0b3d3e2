"""Text files: there whole, or not at all."""

import os

import pytest

from qloc.errors import StorageError
from qloc.text.files import write_text


def test_a_file_replaces_another_and_its_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    assert write_text("one\n", path, "table") == path
    write_text("two κ\n", path, "table")
    assert path.read_bytes() == "two κ\n".encode()
    assert [one.name for one in path.parent.iterdir()] == ["b.txt"]


def test_what_was_there_stays_where_the_disk_refuses(tmp_path, monkeypatch):
    path = tmp_path / "b.txt"
    path.write_text("before")

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError) as caught:
        write_text("after", path, "table")
    assert str(caught.value) == (
        f"table is '{path}'; expected a file that can be written. At No space left on device. "
        "Choose another --out or make room."
    )
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["b.txt"]
