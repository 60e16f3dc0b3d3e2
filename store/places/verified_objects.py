"""A read-only zarr store that serves only objects listed in a manifest, and checks each of them.

Zarr treats an object that is missing as missing values. Here, an object that the manifest does not list
does not exist, and an object that it lists must be as it says: a whole object must have its sha256, a part
must have the length that was asked for (and each chunk its crc32c). The metadata of all arrays are those
consolidated in the root, so that one object is read for all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from qloc.errors import VerificationError, message
from qloc.store.names import ROOT
from qloc.text.parsing import json_of

_ACTION = "Take this object from the store's source again"


class Source(Protocol):
    """Where objects are read."""

    @property
    def path(self) -> Any:
        """What the store is called; ``path / name`` is the path of an object."""
        ...

    def read(self, name: str) -> bytes:
        """Read a whole object; raise FileNotFoundError if it is missing.

        Parameters
        ----------
        name : str
            Name of the object.

        Returns
        -------
        bytes
            Its content.
        """
        ...

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Read a part of an object; raise FileNotFoundError if it is missing.

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
        ...


class ManifestObjects(Store):
    """Read-only zarr store: serves only objects listed in the manifest, and checks the sha256 of each.

    Parameters
    ----------
    source : Source
        Where the objects are read.
    objects : mapping of str to mapping
        ``sha256`` and ``size`` of each object by its name.
    """

    supports_writes, supports_deletes, supports_listing = False, False, True

    def __init__(self, source: Source, objects: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(read_only=True)
        self._source, self._objects = source, objects
        self._metadata: dict[str, bytes] | None = None

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, ManifestObjects) and self._source.path == other._source.path
        return same and self._objects == other._objects  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return str(self._source.path)

    def with_read_only(self, read_only: bool = False) -> ManifestObjects:
        """Return an equal store: no store of this kind can be written to.

        Parameters
        ----------
        read_only : bool
            Ignored.

        Returns
        -------
        ManifestObjects
            A store of the same objects.
        """
        return ManifestObjects(self._source, self._objects)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it; return None if the manifest does not list it.

        Parameters
        ----------
        key : str
            Name of the object.
        prototype : BufferPrototype
            Kind of buffer to return.
        byte_range : ByteRequest, optional
            Which part to read.

        Returns
        -------
        Buffer or None
            The bytes.

        Raises
        ------
        VerificationError
            The object is missing, or is not as the manifest says.
        """
        if key not in self._objects:
            return None
        content = await asyncio.to_thread(self._read, key, byte_range)
        return None if content is None else prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read several objects, or parts of them.

        Parameters
        ----------
        prototype : BufferPrototype
            Kind of buffer to return.
        key_ranges : iterable of tuple
            Name of each object, and which part to read or None.

        Returns
        -------
        list of Buffer or None
            The bytes, in the same order.
        """
        return list(await asyncio.gather(*(self.get(key, prototype, wanted) for key, wanted in key_ranges)))

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        if byte_range is None:
            return self._node(key) if key.endswith(f"/{ROOT}") else self._whole(key)
        size = self._objects[key]["size"]
        if isinstance(byte_range, RangeByteRequest):
            start, stop = byte_range.start, min(byte_range.end, size)
        elif isinstance(byte_range, SuffixByteRequest):
            start, stop = max(0, size - byte_range.suffix), size
        else:
            start, stop = byte_range.offset, size
        try:
            content = self._source.part(key, start, stop)
        except FileNotFoundError:
            raise self._missing(key) from None
        if len(content) != stop - start:
            raise self._other(key, f"{len(content)} bytes from {start} on", f"{stop - start} of {size} bytes")
        return content

    def _whole(self, key: str) -> bytes:
        try:
            content = self._source.read(key)
        except FileNotFoundError:
            raise self._missing(key) from None
        made, expected = hashlib.sha256(content).hexdigest(), self._objects[key]["sha256"]
        if made != expected:
            raise self._other(key, f"sha256 {made}", f"sha256 {expected}")
        return content

    def _node(self, key: str) -> bytes | None:
        if self._metadata is None:
            inner = json_of(self._whole(ROOT)).get("consolidated_metadata") or {}
            nodes = inner.get("metadata", {})
            self._metadata = {f"{name}/{ROOT}": json.dumps(node).encode() for name, node in nodes.items()}
        return self._metadata.get(key)

    def _missing(self, key: str) -> VerificationError:
        return self._other(key, "missing", f"{self._objects[key]['size']} bytes")

    def _other(self, key: str, got: str, rule: str) -> VerificationError:
        return VerificationError(message(f"object {key}", got, rule, str(self._source.path / key), _ACTION))

    async def exists(self, key: str) -> bool:
        """Tell whether the manifest lists an object.

        Parameters
        ----------
        key : str
            Name of the object.

        Returns
        -------
        bool
            Whether it is listed.
        """
        return key in self._objects

    async def getsize(self, key: str) -> int:
        """Return the size of an object that the manifest gives.

        Parameters
        ----------
        key : str
            Name of the object.

        Returns
        -------
        int
            Bytes.

        Raises
        ------
        FileNotFoundError
            The manifest does not list the object.
        """
        if key not in self._objects:
            raise FileNotFoundError(key)
        return int(self._objects[key]["size"])

    async def set(self, key: str, value: Buffer) -> None:
        """Raise ValueError: the store is read-only.

        Parameters
        ----------
        key : str
            Name of the object.
        value : Buffer
            Ignored.
        """
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Raise ValueError: the store is read-only.

        Parameters
        ----------
        key : str
            Name of the object.
        """
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """List every object.

        Yields
        ------
        str
            The next name.
        """
        for name in self._objects:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List every object whose name begins with a prefix.

        Parameters
        ----------
        prefix : str
            What names begin with.

        Yields
        ------
        str
            The next name.
        """
        for name in self._objects:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the files and folders in one folder.

        Parameters
        ----------
        prefix : str
            The folder; empty for the root.

        Yields
        ------
        str
            The next name, relative to the folder.
        """
        above = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        for name in dict.fromkeys(
            name.removeprefix(above).partition("/")[0] for name in self._objects if name.startswith(above)
        ):
            yield name
