"""Names that are ours: what is made beside a path under a name that others can guess.

Where others may write, somebody may have put a link or a file of theirs there, so that what we empty or
overwrite would be something else. So links are not followed, and in a folder that others may write into, what
is there must belong to the user who runs this.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from qloc.errors import InputError, message

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def own_folder(path: Path) -> None:
    """Make a folder, or make sure that the one that is there is ours.

    Parameters
    ----------
    path : Path
        The folder; the one above it exists.

    Raises
    ------
    InputError
        Something else is there, such as a link, or a folder of somebody else.
    OSError
        The disk refused.
    """
    try:
        path.mkdir()
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            _refuse(path, status, "a folder")
        _refuse_foreign(path, status)


def own_file(path: Path) -> int:
    """Open a file to be written, which is made if it is missing; make sure that it is ours.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int
        Its descriptor, which is closed when a program is executed.

    Raises
    ------
    InputError
        Something else is there, such as a link, a file with other names, or a file of somebody else.
    OSError
        The disk refused.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o644)
    except OSError:
        if path.is_symlink() or path.is_dir():
            _refuse(path, path.lstat(), "a file")
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            _refuse(path, status, "a file")
        _refuse_foreign(path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    others = path.absolute().parent.stat().st_mode & _OTHERS_WRITE
    if others and status.st_uid != os.geteuid():
        action = "Remove it, or work in a folder that only you can write into"
        raise InputError(message("path", "somebody else's", "nothing, or ours", str(path), action))


def _refuse(path: Path, status: os.stat_result, kind: str) -> None:
    mode = status.st_mode
    got = (
        "a link"
        if stat.S_ISLNK(mode)
        else "a folder"
        if stat.S_ISDIR(mode)
        else "a file with another name too"
        if stat.S_ISREG(mode) and status.st_nlink > 1
        else "a file"
        if stat.S_ISREG(mode)
        else "a special file"
    )
    rule = f"nothing, or {kind} that an interrupted run left"
    raise InputError(message("path", got, rule, str(path), "Look at what it is, and remove it"))


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; links are not followed.

    Parameters
    ----------
    path : Path
        What is removed.
    """
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
