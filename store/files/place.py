"""Where a store lies: a folder, one file that a folder was packed into, or a URL of either, read in place."""

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


class Place(Protocol):
    """Named objects, to be read; what a folder, an archive and a URL have in common."""

    @property
    def path(self) -> Path | Url:
        """The folder, the file, or the URL; ``/`` leads on to an object."""
        ...

    consolidated: bool
    """Whether zarr reads the metadata of every array from those consolidated in the root."""

    at_once: int
    """How many objects may well be read at the same time."""

    def names(self) -> Iterator[str]:
        """Every object by its path inside, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """A whole object; raises OSError where it cannot be read."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of an object; None where it is missing, -1 where it is no ordinary file."""
        ...

    def digest(self, name: str) -> str:
        """Hex sha256 of an object, read in pieces."""
        ...

    def zarr(self) -> StoreLike:
        """What zarr and xarray open."""
        ...


class Folder:
    """A store as a folder.

    Attributes
    ----------
    path : the folder; need not be there.
    """

    consolidated = False
    at_once = 1

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterator[str]:
        """Every file and link in it, sorted, but for what is being appended."""
        found: list[str] = []
        for place, folders, names in os.walk(self.path):
            if Path(place) == self.path and APPENDING in folders and not (self.path / APPENDING).is_symlink():
                folders.remove(APPENDING)
            links = [folder for folder in folders if Path(place, folder).is_symlink()]
            inside = Path(place).relative_to(self.path)
            found += [(inside / name).as_posix() for name in (*names, *links)]
        yield from sorted(found)

    def read(self, name: str) -> bytes:
        """A whole file."""
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where it is missing, -1 where it is a link or the like."""
        try:
            found = (self.path / name).lstat()
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else -1

    def digest(self, name: str) -> str:
        """Hex sha256 of a file."""
        return file_digest(self.path / name)

    def zarr(self) -> StoreLike:
        """The path."""
        return self.path


def is_inside(name: str) -> bool:
    """Whether a name is that of a file inside, on any system.

    Examples
    --------
    >>> [is_inside(name) for name in ("a/b", "/a", "../a", "a//b", "C:/a", "a/.", "")]
    [True, False, False, False, False, False, False]
    """
    parts = name.split("/")
    odd = any(c in name for c in "\\:\0") or any(ord(c) < 32 for c in name)
    return not odd and all(part not in ("", ".", "..") for part in parts)


def place_at(store: Path | Place) -> Place:
    """A place as it is, or the folder at a path: archives and URLs are opened by a layer above."""
    return Folder(store) if isinstance(store, Path) else store
