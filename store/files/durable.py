"""Files that are there whole or not at all, also after power is lost.

Written aside, fsynced, renamed, and the folder fsynced.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from qloc.errors import RemoteError, StorageError, message

PARTIAL: Final = ".partial"
"""Suffix of a file that is being written; one found later is litter."""

_SYNCS: Final = 16


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what the disk says into a StorageError that names the path and what to do.

    Raises
    ------
    StorageError : for any OSError inside.
    """
    try:
        yield
    except (StorageError, RemoteError):
        raise
    except OSError as error:
        said = error.strerror or str(error)
        action = "Make room or mend the disk and run the same command again: what was recorded is kept"
        raise StorageError(message("writing", said, "a disk that takes it", str(path), action)) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Make every file and name under a folder durable: zarr renames, but does not fsync."""
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in (*names, ".")]
    with ThreadPoolExecutor(_SYNCS) as threads:  # a disk flushes many as quickly as one
        list(threads.map(_sync, paths))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_aside(folder: Path, write: Callable[[BinaryIO], None]) -> Path:
    """Write a file under a temporary name and fsync it; nothing is left where writing fails.

    Raises
    ------
    StorageError : the disk refused.
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
    """Write a whole file durably, in place of what may have been there.

    Raises
    ------
    StorageError : the disk refused; what was there before still is.
    """
    aside = write_aside(path.parent, lambda target: _all(target, content))
    with storing(path):
        aside.replace(path)
        sync_folder(path.parent)


def _all(target: BinaryIO, content: bytes) -> None:
    target.write(content)
