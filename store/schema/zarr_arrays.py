"""Zarr arrays as every store has them: chunks and shards along rows, zstd, and a crc32c in each chunk."""

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
from zarr.storage import StoreLike

from qloc.arrays import Array
from qloc.canonical_json import canonical
from qloc.errors import QlocError, StorageError, VerificationError, message
from qloc.store.names import ROOT
from qloc.store.schema.bounded_codecs import bounded_codecs
from qloc.store.schema.variables import STRING, Variable, missing
from qloc.vocabulary import METHOD

CHUNK_BYTES: Final = 2**18
"""Size of a chunk, which is read to see one fact; uncompressed."""

SHARD_BYTES: Final = 2**25
"""Size of a shard, which is one file and is written in one step; uncompressed."""

_STRING_BYTES: Final = 64
_WAITING: Final = "qloc waits"
_LONGEST_REASON: Final = 500


def create(group: zarr.Group, variable: Variable, dtype: str, shape: tuple[int, ...]) -> zarr.Array[Any]:
    """Create an empty array of the store, cut along rows (and methods) into chunks and shards.

    Parameters
    ----------
    group : zarr.Group
        The group that gets the array.
    variable : Variable
        Name, dims and meaning of the array.
    dtype : str
        Its Zarr dtype.
    shape : tuple of int
        Its shape.

    Returns
    -------
    zarr.Array
        The array, full of missing values.
    """
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
    """Choose chunk and shard shapes: a chunk is about CHUNK_BYTES of one method, a shard about SHARD_BYTES.

    Parameters
    ----------
    variable : Variable
        Its dims say which axis is cut.
    dtype : str
        Zarr dtype; a string counts as 64 bytes.
    shape : tuple of int
        Shape of the array.

    Returns
    -------
    chunks : tuple of int
        Shape of a chunk.
    shards : tuple of int or None
        Shape of a shard; None if a single chunk holds all rows.
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
    """Rewrite all metadata but the root's as canonical JSON, so that no version of zarr changes their bytes.

    Parameters
    ----------
    folder : Path
        A store being made. Files are rewritten in place, because it is made anew after an interruption.
    """
    for path in folder.glob(f"*/**/{ROOT}"):
        raw = path.read_bytes()
        if (settled := canonical(json.loads(raw))) != raw:
            path.write_bytes(settled)


@contextmanager
def whole_writes() -> Iterator[None]:
    """If the block fails, wait until zarr's other writes have ended: zarr leaves them running.

    Otherwise they would add files and groups to what is cleared away or made again next.

    Yields
    ------
    None
        Nothing; write inside the block.
    """
    try:
        yield
    except BaseException:
        sync(_others())
        raise


async def _others() -> None:
    """Wait for all other tasks in zarr's loop, whatever their outcome, except those that wait here too."""
    this = asyncio.current_task()
    if this is not None:
        this.set_name(_WAITING)
    others = [task for task in asyncio.all_tasks() if task.get_name() != _WAITING]
    await asyncio.gather(*others, return_exceptions=True)


def put(array: zarr.Array[Any], region: tuple[slice, ...], values: Array) -> None:
    """Write a region of an array, and read it back to compare.

    Parameters
    ----------
    array : zarr.Array
        The array.
    region : tuple of slice
        Where to write; its last slice is named in the message as the rows.
    values : ndarray
        What to write, of the region's shape.

    Raises
    ------
    StorageError
        The values read back are not those written, or cannot be read.
    """
    array[region] = values
    try:
        got = "" if same(np.asarray(array[region]), values) else "different"
    except ValueError as error:  # a checksum, or a frame that no codec reads
        got = f"unreadable ({error})"
    if got:
        where = f"{array.store_path}, rows {region[-1].start} to {region[-1].stop}"
        action = "Check the disk and run the same command again"
        raise StorageError(message("what was read back", got, "what was written", where, action))


def unreadable(what: str, error: Exception, at: str) -> str:
    """Say that something of a store cannot be read, in the house form.

    Parameters
    ----------
    what : str
        What is read, such as ``array signals/attribution``.
    error : Exception
        What zarr, a codec or another library raised.
    at : str
        The store or file.

    Returns
    -------
    str
        One line.
    """
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
    return message(
        what, f"unreadable ({reason})", "what qloc wrote", at, "Run qloc store verify on the store"
    )


@contextmanager
def reading(what: str, at: str) -> Iterator[None]:
    """Turn whatever zarr, its codecs and other libraries raise at a damaged store into one error of ours.

    Parameters
    ----------
    what : str
        What is read.
    at : str
        The store or file.

    Yields
    ------
    None
        Nothing; read inside the block, and write nothing.

    Raises
    ------
    VerificationError
        It cannot be read. Our own errors, and a lack of memory, pass unchanged.
    """
    try:
        yield
    except (QlocError, MemoryError):
        raise
    except Exception as error:
        raise VerificationError(unreadable(what, error, at)) from error


def array_at(store: StoreLike, path: str = "") -> zarr.Array[Any]:
    """Open an array to be read; its chunks may not declare more than they hold.

    Parameters
    ----------
    store : StoreLike
        Folder of one array, or a zarr store.
    path : str, optional
        Path of the array in the store.

    Returns
    -------
    zarr.Array
        The array, read-only.
    """
    with bounded_codecs():
        array: zarr.Array[Any] = zarr.open_array(store, path=path, mode="r", zarr_format=3)
    return array


def stored(folder: Path, region: tuple[slice, ...] = ()) -> Array:
    """Read the array in a folder, or a region of it.

    Parameters
    ----------
    folder : Path
        Folder of one array.
    region : tuple of slice
        What to read; empty for the whole array.

    Returns
    -------
    ndarray
        The values; strings as objects.

    Raises
    ------
    VerificationError
        The array cannot be read.
    """
    with reading(f"array {folder.name}", str(folder)):
        values = np.asarray(array_at(folder)[region or ...])
    return values.astype(object) if values.dtype.kind == "T" else values


def same(got: Array, expected: Array) -> bool:
    """Tell whether two arrays are equal bit by bit, strings by their text.

    Parameters
    ----------
    got, expected : ndarray
        The arrays; NaNs are equal if their bits are, and −0 differs from 0.

    Returns
    -------
    bool
        Whether dtype (of numbers), shape and all bits are equal.
    """
    if expected.dtype == object:
        return got.shape == expected.shape and bool((got.astype(object) == expected).all())
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    return np.array_equal(_bits(got), _bits(expected))


def _bits(values: Array) -> Array:
    """Return the bits of numbers, as whole numbers of the same width."""
    return np.ascontiguousarray(values).reshape(-1).view(f"u{values.dtype.itemsize}")
