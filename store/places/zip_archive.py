"""A packed store: one zip file whose members are stored uncompressed, so that chunks are read in place.

A zip file can contain what no store has: paths that lead out of it, links, one name twice, sizes that are not
those of its bytes. The directory of the archive is checked for all of these before any member is read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from zarr.storage import StoreLike, ZipStore

from qloc.errors import RemoteError, SchemaError, VerificationError, message
from qloc.store.files.place import is_inside
from qloc.store.files.url import Url

SUFFIX: Final = ".zip"
"""Ending of the names of packed stores."""

_PIECE: Final = 2**20
_LOCAL_HEADER: Final = 30
_ACTION: Final = "Do not use this archive; take it from its source again"
UNREADABLE: Final = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises for a broken archive."""


class Archive:
    """A store as one file; a :class:`~qloc.store.files.place.Place`.

    Parameters
    ----------
    path : Path or Url
        The file, or its URL.
    source : zipfile.ZipFile
        The open file.

    Attributes
    ----------
    path : Path or Url
        The file, or its URL.
    problems : tuple of str
        What the directory of the archive says that no store's does, one message each.
    """

    path: Path | Url
    consolidated = False
    at_once = 1

    def __init__(self, path: Path | Url, source: zipfile.ZipFile) -> None:
        self.path, self._source = path, source
        infos = source.infolist()
        self._members = {info.filename: info for info in infos}
        self.problems = tuple(_problems(path, infos, source.start_dir))

    @classmethod
    def inspect(cls, path: Path) -> Archive:
        """Open the archive at a path, whatever problems it has.

        Parameters
        ----------
        path : Path
            The file.

        Returns
        -------
        Archive
            The archive, with its ``problems``.

        Raises
        ------
        SchemaError
            The file is no zip file, or cannot be read.
        """
        try:
            return cls(path, zipfile.ZipFile(path))
        except (OSError, *UNREADABLE) as error:
            rule = "a store's folder, or a .zarr.zip that qloc store pack wrote"
            text = message("file", str(error), rule, str(path), "Give the path of one of these")
            raise SchemaError(text) from None

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Open the archive at a path if it has no problem.

        Parameters
        ----------
        path : Path
            The file.

        Returns
        -------
        Archive
            The archive.

        Raises
        ------
        SchemaError
            The file is no zip file, or cannot be read.
        VerificationError
            It has members that no store has; every problem.
        """
        archive = cls.inspect(path)
        if archive.problems:
            raise VerificationError(archive.problems)
        return archive

    def names(self) -> Iterator[str]:
        """List every member, sorted.

        Yields
        ------
        str
            The next name.
        """
        yield from sorted(self._members)

    def size(self, name: str) -> int | None:
        """Return the size of a member, as the directory of the archive gives it.

        Parameters
        ----------
        name : str
            Name of the member.

        Returns
        -------
        int or None
            Bytes; None if there is no such member.
        """
        info = self._members.get(name)
        return None if info is None else info.file_size

    def read(self, name: str) -> bytes:
        """Read a whole member; raise OSError if it is missing or broken.

        Parameters
        ----------
        name : str
            Name of the member.

        Returns
        -------
        bytes
            Its content.
        """
        return b"".join(self.pieces(name))

    def digest(self, name: str) -> str:
        """Return the sha256 of a member.

        Parameters
        ----------
        name : str
            Name of the member.

        Returns
        -------
        str
            Hexadecimal digest; if the member cannot be read, words that say why.
        """
        made = hashlib.sha256()
        try:
            for piece in self.pieces(name):
                made.update(piece)
        except RemoteError:
            raise
        except OSError as error:
            return f"unreadable ({error.strerror})"
        return made.hexdigest()

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a member piece by piece.

        Parameters
        ----------
        name : str
            Name of the member.

        Yields
        ------
        bytes
            The next piece.

        Raises
        ------
        FileNotFoundError
            There is no such member.
        OSError
            The member is broken.
        """
        info = self._members.get(name)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        try:
            with self._source.open(info) as member:
                while piece := member.read(_PIECE):
                    yield piece
        except UNREADABLE as error:
            raise OSError(errno.EIO, str(error), name) from None

    def zarr(self) -> StoreLike:
        """Return a read-only ZipStore of its own.

        Returns
        -------
        StoreLike
            A zarr store.
        """
        return ZipStore(str(self.path), mode="r")


def _problems(path: Path | Url, infos: list[zipfile.ZipInfo], end: int) -> Iterator[str]:
    at = str(path)
    for info in infos:
        name = info.orig_filename
        if not is_inside(name):
            yield message("name of a member", name, "a path inside the store", at, _ACTION)
        if (kind := stat.S_IFMT(info.external_attr >> 16)) not in (0, stat.S_IFREG):
            got = "a link" if stat.S_ISLNK(kind) else "no ordinary file"
            yield message(f"member {name!r}", got, "an ordinary file", at, _ACTION)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            got = f"compressed, {info.compress_size} bytes for {info.file_size}"
            yield message(f"member {name!r}", got, "stored as it is", at, _ACTION)
        if info.flag_bits & 1:
            yield message(f"member {name!r}", "encrypted", "stored as it is", at, _ACTION)
    names = Counter(info.orig_filename for info in infos)
    for name, n in names.items():
        if n > 1:
            yield message(f"members named {name!r}", n, "one", at, _ACTION)
        folders = name.split("/")[:-1]
        above = ["/".join(folders[: n + 1]) for n in range(len(folders))]
        if clash := [folder for folder in above if folder in names]:
            yield message(f"member {clash[0]!r}", "a file and a folder", "one of them", at, _ACTION)
    yield from _overlaps(at, infos, end)


def _overlaps(at: str, infos: list[zipfile.ZipInfo], end: int) -> Iterator[str]:
    """Yield members that share bytes: a few bytes would unpack to many."""
    placed = sorted((info.header_offset, info) for info in infos) if _distinct(infos) else []
    if len(placed) != len(infos):
        yield message("members", "at one place in the archive", "each with bytes of its own", at, _ACTION)
        return
    bounds: list[tuple[int, Any]] = [*placed, (end, None)]
    for (first, info), (following, _) in pairwise(bounds):
        if first + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size > following:
            got = f"{info.compress_size} bytes from {first} on"
            rule = f"bytes of its own, before {following}"
            yield message(f"member {info.orig_filename!r}", got, rule, at, _ACTION)


def _distinct(infos: list[zipfile.ZipInfo]) -> bool:
    return len({info.header_offset for info in infos}) == len(infos)
