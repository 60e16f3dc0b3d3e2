"""The place of a store: a folder, a packed archive or a URL, all read through one protocol."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from zarr.storage import StoreLike

from qloc.canonical_json import file_digest
from qloc.store.files.url import Url
from qloc.store.names import APPENDING
from qloc.text.ordinary_files import read_ordinary


class Place(Protocol):
    """Named objects that can be read; the protocol shared by folders, archives and URLs."""

    @property
    def path(self) -> Path | Url:
        """The folder, the archive file, or the URL; ``path / name`` is the path of an object."""
        ...

    consolidated: bool
    """Whether zarr reads the metadata of every array from those consolidated in the root."""

    at_once: int
    """How many objects may well be read at the same time."""

    def names(self) -> Iterator[str]:
        """List every object by its path inside the store, sorted.

        Yields
        ------
        str
            The next name, such as ``signals/attribution/c/0/0/0``.
        """
        ...

    def read(self, name: str) -> bytes:
        """Read a whole object; raise OSError if it cannot be read.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        bytes
            Its content.
        """
        ...

    def size(self, name: str) -> int | None:
        """Return the size of an object.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        int or None
            Bytes; None if the object is missing, -1 if it is not an ordinary file.
        """
        ...

    def digest(self, name: str) -> str:
        """Return the sha256 of an object, which is read in pieces.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        str
            Hexadecimal digest.
        """
        ...

    def zarr(self) -> StoreLike:
        """Return what zarr and xarray open.

        Returns
        -------
        StoreLike
            A path or a zarr store, read-only.
        """
        ...


class Folder:
    """A store as a folder; a :class:`Place`.

    Parameters
    ----------
    path : Path
        The folder; it need not exist.

    Attributes
    ----------
    path : Path
        The folder.
    consolidated : bool
        False: the metadata of each array are read from its own file.
    at_once : int
        1: objects are read one after the other.
    """

    consolidated = False
    at_once = 1

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterator[str]:
        """List every file and link in the folder, sorted, except those of a phase being appended.

        Yields
        ------
        str
            The next path, relative to the folder, with ``/`` between its parts.
        """
        paths: list[str] = []
        root = os.fspath(self.path)
        for place, folders, names in os.walk(root):
            if place == root and APPENDING in folders and not os.path.islink(os.path.join(root, APPENDING)):
                folders.remove(APPENDING)
            links = [folder for folder in folders if os.path.islink(os.path.join(place, folder))]
            inside = place[len(root) :].strip(os.sep).replace(os.sep, "/")
            above = f"{inside}/" if inside else ""
            paths += [above + name for name in (*names, *links)]
        yield from sorted(paths)

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Parameters
        ----------
        name : str
            Path relative to the folder.

        Returns
        -------
        bytes
            Its content.
        """
        return read_ordinary(self.path / name)

    def size(self, name: str) -> int | None:
        """Return the size of a file.

        Parameters
        ----------
        name : str
            Path relative to the folder.

        Returns
        -------
        int or None
            Bytes; None if the file is missing, -1 if it is a link, a folder or another special file.
        """
        try:
            status = (self.path / name).lstat()
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    def digest(self, name: str) -> str:
        """Return the sha256 of a file.

        Parameters
        ----------
        name : str
            Path relative to the folder.

        Returns
        -------
        str
            Hexadecimal digest.
        """
        return file_digest(self.path / name)

    def zarr(self) -> StoreLike:
        """Return the path, which zarr opens as it is.

        Returns
        -------
        StoreLike
            The folder's path.
        """
        return self.path


def is_inside(name: str) -> bool:
    """Tell whether a name is a relative path that stays inside a folder, on any operating system.

    Parameters
    ----------
    name : str
        Name of an object, as a manifest or an archive has it.

    Returns
    -------
    bool
        False for absolute paths, drive letters, backslashes, control characters, and empty, ``.`` or ``..``
        parts.

    Examples
    --------
    >>> [is_inside(name) for name in ("a/b", "/a", "../a", "a//b", "C:/a", "a/.", "")]
    [True, False, False, False, False, False, False]
    """
    parts = name.split("/")
    odd = any(c in name for c in "\\:\0") or any(ord(c) < 32 for c in name)
    return not odd and all(part not in ("", ".", "..") for part in parts)


def place_at(store: Path | Place) -> Place:
    """Return a place unchanged, or the folder at a path.

    Archives and URLs are opened by a layer above (:mod:`qloc.store.places.open_place`).

    Parameters
    ----------
    store : Path or Place
        A folder's path, or a place that is open already.

    Returns
    -------
    Place
        The place.
    """
    return Folder(store) if isinstance(store, Path) else store
