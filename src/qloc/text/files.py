"""Text files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from qloc.errors import StorageError, message


def write_text(text: str, path: Path, what: str) -> Path:
    """Write a text file as :func:`write_bytes` does, in UTF-8.

    Parameters
    ----------
    text : str
        The whole file.
    path : Path
        Its folder is made if missing; a file of that name is replaced.
    what : str
        What is written, for the error, such as ``report``.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    StorageError
        The disk refused, or ``path`` is a folder; what was there before is still there, nothing
        half-written is left.
    """
    return write_bytes(text.encode(), path, what)


def write_bytes(content: bytes, path: Path, what: str) -> Path:
    """Write a file: to a neighbor of ``path`` first, which takes its place once it is complete.

    Parameters
    ----------
    content : bytes
        The whole file.
    path : Path
        Its folder is made if missing; a file of that name is replaced.
    what : str
        What is written, for the error, such as ``report``.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    StorageError
        The disk refused, or ``path`` is a folder; what was there before is still there, nothing
        half-written is left.
    """
    if path.is_dir():
        rule, action = "a file, not a folder", "Give the name of a file in it"
        raise StorageError(message(what, str(path), rule, str(path.absolute()), action))
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")  # a name that nobody guesses
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        rule, action = "a file that can be written", "Choose another --out or make room"
        raise StorageError(message(what, str(path), rule, error.strerror or str(error), action)) from error
    finally:
        _forget(part)
    return path


def _forget(part: Path) -> None:
    """Remove what is left of a file that was not finished (also after Ctrl-C)."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return  # the disk that refused the file may refuse this too; the first error is the one to tell
