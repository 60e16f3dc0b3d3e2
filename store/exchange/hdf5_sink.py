"""What an HDF5 file is written to: a full disk ends it with one error, where HDF5 itself ends the process.

After a write that failed, HDF5 tries again to write the rest of its caches whenever anything is closed:
hundreds of errors, and at last a segmentation fault. So it is never told of one. It goes on into nothing, and
whoever writes looks after each array whether all went well.
"""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Any

from qloc.store.files.durable import storing


class Sink:
    """A file as h5py takes it, whose writes never fail; what follows a failure is lost.

    Parameters
    ----------
    file : FileIO
        The file, open to be read and written; it has no buffer.
    path : Path
        What is being written; named in the error.
    """

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file, self._path = file, path
        self._error: OSError | None = None

    def require_written(self) -> None:
        """Raise the first error, if there was one.

        Raises
        ------
        StorageError
            The disk refused.
        """
        with storing(self._path):
            if self._error is not None:
                raise self._error

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file.

        Parameters
        ----------
        offset : int
            Bytes.
        whence : int
            From where: 0 the beginning, 1 the present place, 2 the end.

        Returns
        -------
        int
            The place.
        """
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file.

        Returns
        -------
        int
            Bytes from the beginning.
        """
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Read bytes.

        Parameters
        ----------
        size : int
            At most so many; all that follow, if negative.

        Returns
        -------
        bytes
            The bytes.
        """
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer.

        Parameters
        ----------
        buffer : Any
            Of bytes.

        Returns
        -------
        int
            How many were read.
        """
        return self._file.readinto(buffer)

    def write(self, content: Any) -> int:
        """Write all of some bytes, unless a write has failed before.

        Parameters
        ----------
        content : Any
            A buffer of bytes.

        Returns
        -------
        int
            How many bytes it has, whether or not they were written.
        """
        left = memoryview(content).cast("B")
        whole = len(left)
        try:
            while self._error is None and left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._error = error
        return whole

    def truncate(self, size: int) -> int:
        """Cut the file, or make it longer.

        Parameters
        ----------
        size : int
            Bytes that it is to have.

        Returns
        -------
        int
            The same.
        """
        try:
            if self._error is None:
                self._file.truncate(size)
        except OSError as error:
            self._error = error
        return size

    def flush(self) -> None:
        """Do nothing: there is no buffer."""
