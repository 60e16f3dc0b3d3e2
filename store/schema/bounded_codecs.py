"""Codecs that look at the size a chunk declares before they make room for it.

A frame of zstd and an array of texts say at their beginning how large they become. A store from a stranger
may say a terabyte in a few bytes. Here the declared size must be that of the chunk, which the metadata bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Final

import zarr
import zarr.codecs
from zarr.codecs import ZstdCodec
from zarr.registry import register_codec

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

MOST_TEXT_BYTES: Final = 2**26
"""Largest chunk of texts, in bytes, uncompressed."""

MOST_TEXT_EXPANSION: Final = 2**12
"""Most bytes that one compressed byte of a larger chunk of texts can become."""

_FREE: Final = 2**20
"""Chunks of texts up to this size may be compressed by any factor."""

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LONGEST_HEADER: Final = 18


def declared_size(frame: bytes) -> int | None:
    """Return the size that a zstd frame says it has uncompressed (RFC 8878, section 3.1.1.1).

    Parameters
    ----------
    frame : bytes
        The frame, or its first 18 bytes.

    Returns
    -------
    int or None
        Bytes; None where the frame does not say, or is none.

    Examples
    --------
    >>> declared_size(bytes.fromhex("28b52ffd2005290000"))
    5
    >>> declared_size(b"no frame") is None
    True
    """
    if len(frame) < 6 or frame[:4] != _MAGIC:
        return None
    descriptor = frame[4]
    single_segment = bool(descriptor & 0x20)
    width = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    if not width or len(frame) < start + width:
        return None
    size = int.from_bytes(frame[start : start + width], "little")
    return size + 256 if width == 2 else size


@dataclass(frozen=True)
class BoundedZstd(ZstdCodec):
    """Zstd as zarr has it, for frames that declare the size of their chunk."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        head = bytes(chunk_bytes.as_numpy_array()[:_LONGEST_HEADER])
        declared, compressed = declared_size(head), len(chunk_bytes)
        native = chunk_spec.dtype.to_native_dtype()
        if native.kind == "T":
            most = min(MOST_TEXT_BYTES, max(_FREE, MOST_TEXT_EXPANSION * compressed))
        else:
            most = math.prod(chunk_spec.shape) * native.itemsize
        if declared is None or declared > most:
            raise ValueError(f"a chunk declares {declared} bytes; at most {most} are expected")
        return super()._decode_sync(chunk_bytes, chunk_spec)


@dataclass(frozen=True)
class VLenUTF8Codec(zarr.codecs.VLenUTF8Codec):
    """Texts as zarr has them, for chunks that declare as many as they hold; zarr demands the class's name."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        declared = int.from_bytes(bytes(chunk_bytes.as_numpy_array()[:4]), "little")
        if declared != math.prod(chunk_spec.shape):
            raise ValueError(f"a chunk declares {declared} texts; {math.prod(chunk_spec.shape)} are expected")
        return super()._decode_sync(chunk_bytes, chunk_spec)


_CODECS: Final = {"zstd": BoundedZstd, "vlen-utf8": VLenUTF8Codec}
for _name, _codec in _CODECS.items():
    register_codec(_name, _codec)


_CHOOSING: Final = RLock()
"""Zarr's choice of codecs is that of the process: what one thread sets aside, another must not restore."""


@contextmanager
def bounded_codecs() -> Iterator[None]:
    """Let arrays that are opened inside the block decode with the codecs of this module.

    Yields
    ------
    None
        Nothing; open arrays inside the block.
    """
    chosen: dict[str, object] = {
        f"codecs.{name}": f"{codec.__module__}.{codec.__qualname__}" for name, codec in _CODECS.items()
    }
    with _CHOOSING, zarr.config.set(chosen):
        yield
