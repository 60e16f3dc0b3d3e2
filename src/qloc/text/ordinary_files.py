"""Read ordinary files only: a pipe may never end, a device never run out, and a link is somebody's choice."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

MOST: Final = 2**32
"""Most bytes that are read of a file at once, unless less is said."""

MOST_SETTINGS: Final = 2**24
"""Most bytes of a file of settings, which people write by hand."""


def open_ordinary(path: Path, *, links: bool = True) -> BufferedReader:
    """Open an ordinary file to be read; never wait for a pipe.

    Parameters
    ----------
    path : Path
        The file.
    links : bool, default True
        Whether the path may be a symbolic link to the file.

    Returns
    -------
    BufferedReader
        The open file.

    Raises
    ------
    IsADirectoryError
        It is a folder.
    OSError
        The file is missing, cannot be read, or is no ordinary file; ``strerror`` says so.
    """
    follow = 0 if links else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | follow)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not an ordinary file", str(path))
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_ordinary(path: Path, *, most: int = MOST, links: bool = True) -> bytes:
    """Read an ordinary file whole.

    Parameters
    ----------
    path : Path
        The file.
    most : int, default 2**32
        Most bytes that it may have.
    links : bool, default True
        Whether the path may be a symbolic link to the file.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    OSError
        The file is missing, cannot be read, is no ordinary file or is too large; ``strerror`` says so.
    """
    with open_ordinary(path, links=links) as source:
        if os.fstat(source.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"File too large: more than {most:,} bytes", str(path))
        return source.read(most)
