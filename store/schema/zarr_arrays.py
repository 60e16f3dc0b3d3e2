"""Zarr arrays as every store has them: chunks and shards along rows, zstd, a crc32c in each chunk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync

from qloc.arrays import Array
from qloc.canonical_json import canonical
from qloc.errors import StorageError, message
from qloc.store.names import ROOT
from qloc.store.schema.variables import STRING, Variable, missing
from qloc.vocabulary import METHOD

CHUNK_BYTES: Final = 2**18
"""What is read to see one fact; uncompressed."""

SHARD_BYTES: Final = 2**25
"""What is written at once, and one file; uncompressed."""

_STRING_BYTES: Final = 64
_WAITING: Final = "qloc waits"


def create(group: zarr.Group, variable: Variable, dtype: str, shape: tuple[int, ...]) -> zarr.Array[Any]:
    """An empty array of the store, cut along rows (and methods) into chunks with a crc32c, and shards."""
    chunks, shards = grid(variable, dtype, shape)
    return group.create_array(
        variable.name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        fill_value=missing(dtype),
        compressors=[ZstdCodec(), Crc32cCodec()],
        dimension_names=variable.dims,
        attributes={"long_name": variable.meaning} if variable.meaning else {},
    )


def grid(
    variable: Variable, dtype: str, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunk and shard shape: a chunk is about CHUNK_BYTES of rows of one method, a shard about SHARD_BYTES.

    Returns
    -------
    chunks, shards : the latter None where a single chunk holds all rows.
    """
    axis = variable.row or 0
    chunk = [
        1 if dim == METHOD and axis else max(1, size) for dim, size in zip(variable.dims, shape, strict=True)
    ]
    n_rows = chunk[axis]
    chunk[axis] = 1
    row_bytes = int(np.prod(chunk)) * (_STRING_BYTES if dtype == STRING else np.dtype(dtype).itemsize)
    chunk[axis] = min(n_rows, max(1, CHUNK_BYTES // row_bytes))
    per_shard = min(-(-n_rows // chunk[axis]), max(1, SHARD_BYTES // (chunk[axis] * row_bytes)))
    if per_shard == 1:
        return tuple(chunk), None
    return tuple(chunk), tuple(n * (per_shard if d == axis else 1) for d, n in enumerate(chunk))


def settle_metadata(folder: Path) -> None:
    """Write metadata as canonical JSON, so that its bytes depend on no version of zarr; but for the root's.

    Parameters
    ----------
    folder : files that are not canonical are written in place: it is made anew after an interruption.
    """
    for path in folder.glob(f"*/**/{ROOT}"):
        found = path.read_bytes()
        if (settled := canonical(json.loads(found))) != found:
            path.write_bytes(settled)


@contextmanager
def whole_writes() -> Iterator[None]:
    """Let nothing be written after what is inside: zarr leaves its other writes running where one fails.

    What is cleared away then, or made again, would else be met by what they make: a folder, a group.
    """
    try:
        yield
    except BaseException:
        sync(_others())
        raise


async def _others() -> None:
    """Wait for what else is running in zarr's loop, whatever comes of it, but not for others that wait."""
    this = asyncio.current_task()
    if this is not None:
        this.set_name(_WAITING)
    others = [task for task in asyncio.all_tasks() if task.get_name() != _WAITING]
    await asyncio.gather(*others, return_exceptions=True)


def put(array: zarr.Array[Any], region: tuple[slice, ...], values: Array) -> None:
    """Write, and read back what was written."""
    array[region] = values
    if not same(np.asarray(array[region]), values):
        where = f"{array.store_path}, rows {region[-1].start} to {region[-1].stop}"
        action = "Check the disk and run the same command again"
        raise StorageError(message("what was read back", "different", "what was written", where, action))


def stored(folder: Path, region: tuple[slice, ...] = ()) -> Array:
    """What the array in a folder holds, or a region of it; strings as objects."""
    opened: zarr.Array[Any] = zarr.open_array(folder, mode="r", zarr_format=3)
    values = np.asarray(opened[region or ...])
    return values.astype(object) if values.dtype.kind == "T" else values


def same(got: Array, expected: Array) -> bool:
    """Whether two arrays are equal bit by bit, strings by their text."""
    if expected.dtype == object:
        return got.shape == expected.shape and bool((got.astype(object) == expected).all())
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    return np.array_equal(_bits(got), _bits(expected))


def _bits(values: Array) -> Array:
    """The bits of numbers, as whole numbers of the same width."""
    return np.ascontiguousarray(values).reshape(-1).view(f"u{values.dtype.itemsize}")
