"""One writer per store: an exclusive ``flock``, which the kernel drops when its process ends.

Where a file system has no locks, nothing is written: two writers would not see each other.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from qloc.errors import LockedError, StorageError, message
from qloc.store.files.durable import storing
from qloc.store.files.own_names import own_file


class Lock:
    """An exclusive lock on a file, held until it is released or the process ends.

    Parameters
    ----------
    descriptor : int
        The open file descriptor that carries the lock; closed on release.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, store: Path) -> Self | None:
        """Lock the file at a path without waiting; create the file if it is missing.

        Parameters
        ----------
        path : Path
            The lock file.
        store : Path
            Named in the error.

        Returns
        -------
        Lock or None
            None if the file was moved or removed before it was locked: the caller looks again.

        Raises
        ------
        LockedError
            Another process holds the lock.
        InputError
            Something else is at the path, such as a link.
        StorageError
            The disk refused, or its file system has no locks.
        """
        with storing(path):
            try:
                descriptor = own_file(path)
            except FileNotFoundError:
                return None
        lock = cls(descriptor)
        try:
            if not lock.try_to_take(path):
                action = "Wait for it to end, or stop it"
                text = message("store", "locked", "no other process writing it", str(store), action)
                raise LockedError(text)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return lock
        except FileNotFoundError:
            lock.release()
            return None
        except BaseException:
            lock.release()
            raise
        lock.release()
        return None

    def try_to_take(self, path: Path) -> bool:
        """Lock the open file without waiting.

        Parameters
        ----------
        path : Path
            The file, for the error.

        Returns
        -------
        bool
            False where another process holds the lock.

        Raises
        ------
        StorageError
            The file system has no locks, or does not answer.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            rule = "a file system on which flock works, so that two processes cannot write one store"
            action = "Write to another file system, such as a local disk, then copy (docs/store.md#locks)"
            got = error.strerror or str(error)
            raise StorageError(message("lock", got, rule, str(path), action)) from error
        return True

    def release(self) -> None:
        """Give the lock back; calling this more than once does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
