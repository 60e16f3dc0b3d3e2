"""The objects that a manifest tells, as zarr reads them: nothing is listed, sought in vain, or taken unseen.

Zarr reads an object that is missing as missing values. Here, what the manifest does not list is not there,
and what it lists is, as it says: a whole object must have its sha256, a part the length that was asked for
(and the crc32c in each chunk). Metadata are those consolidated in the root, and no other: one object to read.
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

_ACTION = "Take this object from the store's source again"


class Source(Protocol):
    """Where objects are read."""

    @property
    def path(self) -> Any:
        """What the store is called; ``/`` leads on to an object's name."""
        ...

    def read(self, name: str) -> bytes:
        """A whole object."""
        ...

    def part(self, name: str, start: int, stop: int) -> bytes:
        """The bytes from start to stop."""
        ...


class ManifestObjects(Store):
    """A read-only store for zarr.

    Parameters
    ----------
    said : sha256 and size of each object by its name.
    """

    supports_writes, supports_deletes, supports_listing = False, False, True

    def __init__(self, source: Source, said: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(read_only=True)
        self._source, self._said = source, said
        self._metadata: dict[str, bytes] | None = None

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, ManifestObjects) and self._source.path == other._source.path
        return same and self._said == other._said  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return str(self._source.path)

    def with_read_only(self, read_only: bool = False) -> ManifestObjects:
        """Itself: it cannot be written to."""
        return ManifestObjects(self._source, self._said)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """An object or a part of it; None where the manifest has none."""
        if key not in self._said:
            return None
        found = await asyncio.to_thread(self._read, key, byte_range)
        return None if found is None else prototype.buffer.from_bytes(found)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several objects, or parts."""
        return list(await asyncio.gather(*(self.get(key, prototype, wanted) for key, wanted in key_ranges)))

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        if byte_range is None:
            return self._node(key) if key.endswith(f"/{ROOT}") else self._whole(key)
        size = self._said[key]["size"]
        if isinstance(byte_range, RangeByteRequest):
            start, stop = byte_range.start, min(byte_range.end, size)
        elif isinstance(byte_range, SuffixByteRequest):
            start, stop = max(0, size - byte_range.suffix), size
        else:
            start, stop = byte_range.offset, size
        try:
            found = self._source.part(key, start, stop)
        except FileNotFoundError:
            raise self._missing(key) from None
        if len(found) != stop - start:
            raise self._other(key, f"{len(found)} bytes from {start} on", f"{stop - start} of {size} bytes")
        return found

    def _whole(self, key: str) -> bytes:
        try:
            found = self._source.read(key)
        except FileNotFoundError:
            raise self._missing(key) from None
        made, expected = hashlib.sha256(found).hexdigest(), self._said[key]["sha256"]
        if made != expected:
            raise self._other(key, f"sha256 {made}", f"sha256 {expected}")
        return found

    def _node(self, key: str) -> bytes | None:
        if self._metadata is None:
            inner = json.loads(self._whole(ROOT)).get("consolidated_metadata") or {}
            nodes = inner.get("metadata", {})
            self._metadata = {f"{name}/{ROOT}": json.dumps(node).encode() for name, node in nodes.items()}
        return self._metadata.get(key)

    def _missing(self, key: str) -> VerificationError:
        return self._other(key, "missing", f"{self._said[key]['size']} bytes")

    def _other(self, key: str, got: str, rule: str) -> VerificationError:
        return VerificationError(message(f"object {key}", got, rule, str(self._source.path / key), _ACTION))

    async def exists(self, key: str) -> bool:
        """Whether the manifest lists it."""
        return key in self._said

    async def getsize(self, key: str) -> int:
        """Bytes of an object, as the manifest says."""
        if key not in self._said:
            raise FileNotFoundError(key)
        return int(self._said[key]["size"])

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refused."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Every object."""
        for name in self._said:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every object whose name begins so."""
        for name in self._said:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What is in one folder."""
        above = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        for name in dict.fromkeys(
            name.removeprefix(above).partition("/")[0] for name in self._said if name.startswith(above)
        ):
            yield name
