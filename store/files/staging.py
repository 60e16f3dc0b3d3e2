"""Folders and files made aside under a hidden name, one process at a time, and renamed when they are whole.

Killed at any instant, nothing is at the path itself; the next run clears away what was left aside.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qloc.errors import InputError, LockedError, message
from qloc.store.files.durable import storing, sync_folder, sync_tree
from qloc.store.files.lock import Lock


def refuse_present(path: Path) -> None:
    """Refuse to write where something is.

    Raises
    ------
    InputError : there is something, or no folder to write into.
    """
    if path.exists() or path.is_symlink():
        raise InputError(message("path", "there already", "nothing yet", str(path), "Give another OUT"))
    if not path.absolute().parent.is_dir():
        where = str(path.absolute().parent)
        raise InputError(message("folder", "missing", "a folder to write into", where, "Make it"))


@contextmanager
def folder_aside(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """A folder to fill; at the end it is fsynced, and renamed to ``path``.

    Parameters
    ----------
    keep : what was filled in stays where the rest fails, and is there the next time.

    Raises
    ------
    InputError : something is at the path.
    LockedError : another process is making it.
    StorageError : the disk refused; without ``keep``, nothing is left.
    """
    refuse_present(path)
    aside = path.absolute().parent / f".{path.name}.partial"
    with storing(path):
        aside.mkdir(exist_ok=True)
        lock = hold(aside, path)
    try:
        with storing(path):
            if not keep:
                empty(aside)
            yield aside
            sync_tree(aside)
            aside.rename(path)
            sync_folder(path.absolute().parent)
    except BaseException:
        if not keep:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        lock.release()


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """The path of a file to write; at the end it is fsynced, and renamed to ``path``.

    Raises
    ------
    InputError : something is at the path.
    LockedError : another process is making it.
    StorageError : the disk refused; nothing is left.
    """
    refuse_present(path)
    aside = path.absolute().parent / f".{path.name}.partial"
    with storing(path):
        aside.touch()
        lock = hold(aside, path)
    try:
        with storing(path):
            os.truncate(aside, 0)
            yield aside
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.rename(path)
            sync_folder(path.absolute().parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        lock.release()


def hold(aside: Path, path: Path) -> Lock:
    """An exclusive lock on a file or folder itself; it dies with this process.

    Parameters
    ----------
    path : what is made there; named in the error.

    Raises
    ------
    LockedError : another process holds it.
    """
    descriptor = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
    lock = Lock(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.release()
        action = "Wait for it to end, or stop it"
        text = message("path", "being written", "no other process writing it", str(path), action)
        raise LockedError(text) from None
    return lock


def empty(folder: Path) -> None:
    """Remove what an interrupted run left in a folder of ours."""
    for litter in folder.iterdir():
        shutil.rmtree(litter) if litter.is_dir() and not litter.is_symlink() else litter.unlink()
