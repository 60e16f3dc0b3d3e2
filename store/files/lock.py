"""One writer per store: an exclusive ``flock``, which the kernel drops when its process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from qloc.errors import LockedError, message
from qloc.store.files.durable import storing


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
        StorageError
            The disk refused.
        """
        with storing(path):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                return None
        lock = cls(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return lock
        except FileNotFoundError:
            lock.release()
            return None
        except BlockingIOError:
            lock.release()
            action = "Wait for it to end, or stop it"
            text = message("store", "locked", "no other process writing it", str(store), action)
            raise LockedError(text) from None
        lock.release()
        return None

    def release(self) -> None:
        """Give the lock back; calling this more than once does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
