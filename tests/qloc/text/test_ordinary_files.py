"""Files that are read: ordinary ones, of bounded size; nothing waits for a pipe or reads a device for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qloc.text.ordinary_files import read_ordinary


def test_ordinary_files_are_read_and_others_refused(tmp_path: Path) -> None:
    file, pipe, link = (tmp_path / name for name in ("file", "pipe", "link"))
    file.write_bytes(b"abc")
    os.mkfifo(pipe)
    link.symlink_to(file)
    assert read_ordinary(file) == read_ordinary(link) == read_ordinary(file, most=3) == b"abc"
    for path, reason in ((pipe, "Not an ordinary file"), (Path("/dev/zero"), "Not an ordinary file")):
        with pytest.raises(OSError) as caught:  # noqa: PT011  (its words are compared)
            read_ordinary(path)
        assert caught.value.strerror == reason
    with pytest.raises(IsADirectoryError):
        read_ordinary(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_ordinary(tmp_path / "none")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read_ordinary(link, links=False)
    with pytest.raises(OSError, match="File too large: more than 2 bytes"):
        read_ordinary(file, most=2)
