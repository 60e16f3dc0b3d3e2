"""Write files so that each is there whole or not at all, even after a power failure.

A file is written under a temporary name, fsynced and renamed, and then its folder is fsynced.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from qloc.errors import RemoteError, StorageError, message

PARTIAL: Final = ".partial"
"""Suffix of a file that is being written; one found later is left over from an interrupted run."""

_SYNCS: Final = 16

_NOT_HERE: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)
"""What a file system says that cannot flush a folder."""


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn errors of the disk into a StorageError that names the path and says what to do.

    Parameters
    ----------
    path : Path
        The file or folder being written, for the message.

    Yields
    ------
    None
        Nothing; write inside the block.

    Raises
    ------
    StorageError
        For any OSError inside the block. StorageError and RemoteError pass through unchanged.
    """
    try:
        yield
    except (StorageError, RemoteError):
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        action = "Make room or mend the disk and run the same command again: what was recorded is kept"
        raise StorageError(message("writing", reason, "a disk that takes it", str(path), action)) from error


def sync_folder(folder: Path) -> None:
    """Fsync a folder, so that the names in it are durable.

    Parameters
    ----------
    folder : Path
        The folder; what it contains is not fsynced.
    """
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Fsync every file and folder under a folder: zarr renames its files but does not fsync them.

    Parameters
    ----------
    folder : Path
        Top of the tree.
    """
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in (*names, ".")]
    with ThreadPoolExecutor(_SYNCS) as threads:  # a disk flushes many as quickly as one
        list(threads.map(_sync, paths))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems (SMB, FUSE) flush no folders; what stands in one is as durable as they make it.
        if error.errno not in _NOT_HERE or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def write_aside(folder: Path, write: Callable[[BinaryIO], None]) -> Path:
    """Write a file under a temporary name and fsync it; remove it again if writing fails.

    Parameters
    ----------
    folder : Path
        Where the file is made.
    write : callable
        Called with the open binary file.

    Returns
    -------
    Path
        The temporary file, which the caller renames.

    Raises
    ------
    StorageError
        The disk refused.
    """
    aside = folder / f"{secrets.token_hex(8)}{PARTIAL}"
    with storing(aside):
        try:
            with aside.open("xb") as target:
                write(target)
                target.flush()
                os.fsync(target.fileno())
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    return aside


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file durably, in place of any file of that name.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        All of its bytes.

    Raises
    ------
    StorageError
        The disk refused; a file that was there before is unchanged.
    """
    aside = write_aside(path.parent, lambda target: _all(target, content))
    with storing(path):
        aside.replace(path)
        sync_folder(path.parent)


def _all(target: BinaryIO, content: bytes) -> None:
    target.write(content)
