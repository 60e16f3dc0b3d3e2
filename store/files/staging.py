"""Make files and folders under a hidden temporary name, and rename them when they are whole.

One process at a time makes a path. If it is killed at any instant, nothing is at the path itself, and the
next run clears away the temporary file or folder ``.NAME.partial``. What somebody else put there, such as a
link, is refused (:mod:`qloc.store.files.own_names`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qloc.errors import InputError, LockedError, StorageError, message
from qloc.store.files.durable import storing, sync_folder, sync_tree
from qloc.store.files.lock import Lock
from qloc.store.files.own_names import own_file, own_folder, remove


def refuse_present(path: Path) -> None:
    """Refuse to write to a path that exists already.

    Parameters
    ----------
    path : Path
        Where something is to be made.

    Raises
    ------
    InputError
        Something is at the path, or the folder above it does not exist.
    """
    if path.exists() or path.is_symlink():
        raise InputError(message("path", "there already", "nothing yet", str(path), "Give another OUT"))
    if not path.absolute().parent.is_dir():
        where = str(path.absolute().parent)
        raise InputError(message("folder", "missing", "a folder to write into", where, "Make it"))


@contextmanager
def folder_aside(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a folder to fill; at the end of the block, fsync it and rename it to ``path``.

    Parameters
    ----------
    path : Path
        Where the folder is to be.
    keep : bool
        Keep the files made so far if the block fails, so that the next call finds them.

    Yields
    ------
    Path
        The temporary folder; empty, unless ``keep`` is set and an earlier call was interrupted.

    Raises
    ------
    InputError
        Something is at the path, or somebody put something at the temporary one.
    LockedError
        Another process is making it.
    StorageError
        The disk refused, or has no locks; without ``keep``, nothing is left.
    """
    refuse_present(path)
    aside = path.absolute().parent / f".{path.name}.partial"
    with storing(path):
        own_folder(aside)
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
    """Yield the path of a file to write; at the end of the block, fsync it and rename it to ``path``.

    Parameters
    ----------
    path : Path
        Where the file is to be.

    Yields
    ------
    Path
        The temporary file, empty.

    Raises
    ------
    InputError
        Something is at the path, or somebody put something at the temporary one.
    LockedError
        Another process is making it.
    StorageError
        The disk refused; nothing is left.
    """
    refuse_present(path)
    aside = path.absolute().parent / f".{path.name}.partial"
    with storing(path):
        descriptor = own_file(aside)
        lock = _locked(descriptor, aside, path)
    try:
        with storing(path):
            os.ftruncate(descriptor, 0)
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
    """Lock a file or folder itself, exclusively; the lock ends with this process.

    Parameters
    ----------
    aside : Path
        The file or folder, which exists.
    path : Path
        What is being made; named in the error.

    Returns
    -------
    Lock
        The lock, to be released.

    Raises
    ------
    LockedError
        Another process holds it.
    StorageError
        The file system has no locks.
    """
    return _locked(os.open(aside, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), aside, path)


def _locked(descriptor: int, aside: Path, path: Path) -> Lock:
    lock = Lock(descriptor)
    try:
        if not lock.try_to_take(aside):
            action = "Wait for it to end, or stop it"
            text = message("path", "being written", "no other process writing it", str(path), action)
            raise LockedError(text)
    except BaseException as error:
        lock.release()
        if isinstance(error, StorageError):
            remove_unused(aside)
        raise
    return lock


def remove_unused(aside: Path) -> None:
    """Remove a temporary file or folder that could not be locked, unless an earlier run left something in it.

    Parameters
    ----------
    aside : Path
        The file or folder, which is ours.
    """
    with suppress(OSError):
        if aside.is_dir():
            aside.rmdir()
        elif not aside.stat().st_size:
            aside.unlink()


def empty(folder: Path) -> None:
    """Remove what an interrupted run left in a temporary folder.

    Parameters
    ----------
    folder : Path
        The folder; it is kept, and links in it are removed without following them.
    """
    for litter in folder.iterdir():
        remove(litter)
