"""A complete store at a URL, read in place: its manifest tells the objects, nothing need be listed."""

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
AT_ONCE: Final = 8
_PIECE: Final = 2**23
_BUFFER: Final = 2**16
_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")


class Remote:
    """A store as objects at a URL; a :class:`~qloc.store.files.place.Place`.

    Attributes
    ----------
    path : the URL.
    said : its manifest.
    """

    consolidated = True
    at_once = AT_ONCE

    def __init__(self, objects: Objects) -> None:
        self.path, self._objects = objects.url, objects
        self._manifest, self._root = _manifest(objects), b""
        self.said: dict[str, Any] = manifest.parsed(self._manifest, self.path / MANIFEST)
        self._told = ManifestObjects(self, self.said["objects"])

    @cached_property
    def _listed(self) -> dict[str, Entry] | None:
        return self._objects.listing()

    def names(self) -> Iterator[str]:
        """Every object, sorted; where the service does not list them, those of the manifest."""
        told = {*self.said["objects"], MANIFEST}
        yield from sorted(told if self._listed is None else self._listed)

    def read(self, name: str) -> bytes:
        """A whole object."""
        if name == MANIFEST:
            return self._manifest
        if name == ROOT:  # read by all who look into a store
            self._root = self._root or b"".join(self.pieces(ROOT))
            return self._root
        return b"".join(self.pieces(name))

    def part(self, name: str, start: int, stop: int) -> bytes:
        """The bytes of an object from start to stop."""
        return self._objects.read(name, start, stop)

    def pieces(self, name: str) -> Iterator[bytes]:
        """A whole object, piece by piece; no more than the manifest says."""
        left = self.said["objects"][name]["size"] if name in self.said["objects"] else MOST_MANIFEST_BYTES
        for piece in self._objects.pieces(name):
            if (left := left - len(piece)) < 0:
                rule, action = "as many bytes as its manifest says", "Do not use this store"
                raise VerificationError(message("object", "longer", rule, self.path / name, action))
            yield piece

    def size(self, name: str) -> int | None:
        """Bytes of an object; where the service does not list them, as the manifest says."""
        if name == MANIFEST:
            return len(self._manifest)
        if self._listed is None:
            found = self.said["objects"].get(name)
            return None if found is None else int(found["size"])
        return self._listed[name].size if name in self._listed else None

    def digest(self, name: str) -> str:
        """Hex sha256 of an object; where it is missing or too long, that."""
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
        """The objects of the manifest, each compared with it."""
        return self._told


class RemoteArchive(Archive):
    """A packed store at a URL: its directory is fetched, then the parts of members that are asked for."""

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
        self.said: dict[str, Any] = manifest.read(self)
        self._told = ManifestObjects(self, self.said["objects"])

    def __getstate__(self) -> dict[str, Any]:
        """All but the open file, which only its directory was read from."""
        return {name: value for name, value in self.__dict__.items() if name != "_source"}

    def part(self, name: str, start: int, stop: int) -> bytes:
        """The bytes of a member from start to stop."""
        if name not in self._starts:
            offset = self._members[name].header_offset
            header = _LOCAL_HEADER.unpack(self._objects.read(self._name, offset, offset + _LOCAL_HEADER.size))
            self._starts[name] = offset + _LOCAL_HEADER.size + header[-2] + header[-1]
        first = self._starts[name]
        return self._objects.read(self._name, first + start, first + stop)

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member, piece by piece; FileNotFoundError where there is none."""
        if name not in self._members:
            raise FileNotFoundError(2, "No such file or directory", name)
        size = self._members[name].file_size
        for start in range(0, size, _PIECE):
            yield self.part(name, start, min(start + _PIECE, size))

    def zarr(self) -> StoreLike:
        """The members, each compared with the manifest."""
        return self._told


def _manifest(objects: Objects) -> bytes:
    found = b""
    try:
        for piece in objects.pieces(MANIFEST):
            found += piece
            if len(found) > MOST_MANIFEST_BYTES:
                where = objects.url / MANIFEST
                rule = f"at most {MOST_MANIFEST_BYTES} bytes"
                raise VerificationError(message("manifest", "longer", rule, where, "Do not use this store"))
    except FileNotFoundError:
        rule, action = "a complete store, with manifest.json", "Correct the URL, or push the store to its end"
        raise SchemaError(message("URL", "without a manifest", rule, objects.url, action)) from None
    return found


class _RangeFile(io.RawIOBase):
    """An object as a file that can be read anywhere: what zipfile wants."""

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
        found = self._objects.read(self._name, self._at, stop)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
