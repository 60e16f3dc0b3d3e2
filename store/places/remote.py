"""A complete store at a URL, read in place: its manifest lists the objects, so the service need not."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

from zarr.storage import StoreLike

from qloc.errors import SchemaError, VerificationError, message
from qloc.store.names import MANIFEST, ROOT
from qloc.store.places.object_store import Entry, Objects
from qloc.store.places.verified_objects import ManifestObjects
from qloc.store.places.zip_archive import UNREADABLE, Archive
from qloc.store.schema import manifest

MOST_MANIFEST_BYTES: Final = 2**28
"""Largest manifest that is fetched, in bytes."""

AT_ONCE: Final = 8
"""How many objects are read at the same time."""

_PIECE: Final = 2**23
_BUFFER: Final = 2**16
_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")


class Remote:
    """A store as objects at a URL; a :class:`~qloc.store.files.place.Place`.

    Parameters
    ----------
    objects : Objects
        The objects at the store's URL.

    Attributes
    ----------
    path : Url
        The URL.
    manifest : dict of str to Any
        The store's manifest.

    Raises
    ------
    SchemaError
        There is no manifest, or it is of a newer schema.
    VerificationError
        The manifest is broken.
    """

    consolidated = True
    at_once = AT_ONCE

    def __init__(self, objects: Objects) -> None:
        self.path, self._objects = objects.url, objects
        self._raw_manifest, self._root = _fetched_manifest(objects), b""
        self.manifest: dict[str, Any] = manifest.parsed(self._raw_manifest, self.path / MANIFEST)
        self._verified = ManifestObjects(self, self.manifest["objects"])

    @cached_property
    def _listed(self) -> dict[str, Entry] | None:
        return self._objects.listing()

    def names(self) -> Iterator[str]:
        """List every object, sorted; if the service does not list them, those of the manifest.

        Yields
        ------
        str
            The next name.
        """
        in_manifest = {*self.manifest["objects"], MANIFEST}
        yield from sorted(in_manifest if self._listed is None else self._listed)

    def read(self, name: str) -> bytes:
        """Read a whole object; the manifest and the root metadata are fetched once.

        Parameters
        ----------
        name : str
            Name of the object.

        Returns
        -------
        bytes
            Its content.
        """
        if name == MANIFEST:
            return self._raw_manifest
        if name == ROOT:  # read by all who look into a store
            self._root = self._root or b"".join(self.pieces(ROOT))
            return self._root
        return b"".join(self.pieces(name))

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Read a part of an object.

        Parameters
        ----------
        name : str
            Name of the object.
        start, stop : int
            First byte, and the byte after the last one.

        Returns
        -------
        bytes
            The bytes from start to stop.
        """
        return self._objects.read(name, start, stop)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a whole object piece by piece, but no more bytes than the manifest says.

        Parameters
        ----------
        name : str
            Name of the object.

        Yields
        ------
        bytes
            The next piece.

        Raises
        ------
        VerificationError
            The object is longer than the manifest says.
        """
        left = (
            self.manifest["objects"][name]["size"]
            if name in self.manifest["objects"]
            else MOST_MANIFEST_BYTES
        )
        for piece in self._objects.pieces(name):
            if (left := left - len(piece)) < 0:
                rule, action = "as many bytes as its manifest says", "Do not use this store"
                raise VerificationError(message("object", "longer", rule, self.path / name, action))
            yield piece

    def size(self, name: str) -> int | None:
        """Return the size of an object; the manifest gives it if the service does not list objects.

        Parameters
        ----------
        name : str
            Name of the object.

        Returns
        -------
        int or None
            Bytes; None if there is no such object.
        """
        if name == MANIFEST:
            return len(self._raw_manifest)
        if self._listed is None:
            entry = self.manifest["objects"].get(name)
            return None if entry is None else int(entry["size"])
        return self._listed[name].size if name in self._listed else None

    def digest(self, name: str) -> str:
        """Return the sha256 of an object.

        Parameters
        ----------
        name : str
            Name of the object.

        Returns
        -------
        str
            Hexadecimal digest; if the object is missing or too long, words that say so.
        """
        made = hashlib.sha256()
        try:
            for piece in self.pieces(name):
                made.update(piece)
        except FileNotFoundError:
            return "unreadable (missing)"
        except VerificationError:
            return "of more bytes than the manifest says"
        return made.hexdigest()

    def zarr(self) -> StoreLike:
        """Return the objects of the manifest, each of which is compared with it when read.

        Returns
        -------
        StoreLike
            A read-only zarr store.
        """
        return self._verified


class RemoteArchive(Archive):
    """A packed store at a URL: its directory is fetched, then only the parts of members that are read.

    Parameters
    ----------
    objects : Objects
        The objects at the URL of the folder that has the archive.
    name : str
        File name of the archive.

    Attributes
    ----------
    manifest : dict of str to Any
        The store's manifest.

    Raises
    ------
    SchemaError
        The file is missing or is no archive, or its manifest is of a newer schema.
    VerificationError
        The archive has members that no store has, or its manifest is broken; every problem.
    """

    consolidated = True
    at_once = AT_ONCE

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects, self._name = objects, name
        self._starts: dict[str, int] = {}
        url = objects.url / name
        try:
            file = io.BufferedReader(_RangeFile(objects, name), _BUFFER)
            super().__init__(url, zipfile.ZipFile(file))
        except (FileNotFoundError, *UNREADABLE) as error:
            rule = "a .zarr.zip that qloc store pack wrote"
            got = "missing" if isinstance(error, FileNotFoundError) else str(error)
            raise SchemaError(message("file", got, rule, url, "Correct the URL")) from None
        if self.problems:
            raise VerificationError(self.problems)
        self.manifest: dict[str, Any] = manifest.read(self)
        self._verified = ManifestObjects(self, self.manifest["objects"])

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open file, which only the directory was read from."""
        return {name: value for name, value in self.__dict__.items() if name != "_source"}

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Read a part of a member.

        Parameters
        ----------
        name : str
            Name of the member.
        start, stop : int
            First byte, and the byte after the last one.

        Returns
        -------
        bytes
            The bytes from start to stop.
        """
        if name not in self._starts:
            offset = self._members[name].header_offset
            header = _LOCAL_HEADER.unpack(self._objects.read(self._name, offset, offset + _LOCAL_HEADER.size))
            self._starts[name] = offset + _LOCAL_HEADER.size + header[-2] + header[-1]
        first = self._starts[name]
        return self._objects.read(self._name, first + start, first + stop)

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
        """
        if name not in self._members:
            raise FileNotFoundError(2, "No such file or directory", name)
        size = self._members[name].file_size
        for start in range(0, size, _PIECE):
            yield self.part(name, start, min(start + _PIECE, size))

    def zarr(self) -> StoreLike:
        """Return the members that the manifest lists, each of which is compared with it when read.

        Returns
        -------
        StoreLike
            A read-only zarr store.
        """
        return self._verified


def _fetched_manifest(objects: Objects) -> bytes:
    content = b""
    try:
        for piece in objects.pieces(MANIFEST):
            content += piece
            if len(content) > MOST_MANIFEST_BYTES:
                where = objects.url / MANIFEST
                rule = f"at most {MOST_MANIFEST_BYTES} bytes"
                raise VerificationError(message("manifest", "longer", rule, where, "Do not use this store"))
    except FileNotFoundError:
        rule, action = "a complete store, with manifest.json", "Correct the URL, or push the store to its end"
        raise SchemaError(message("URL", "without a manifest", rule, objects.url, action)) from None
    return content


class _RangeFile(io.RawIOBase):
    """An object at a URL as a seekable file, as zipfile needs it."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects, self._name, self._at = objects, name, 0
        self._size = objects.size(name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        content = self._objects.read(self._name, self._at, stop)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
