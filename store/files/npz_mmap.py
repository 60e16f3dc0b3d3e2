"""Read a unit's ``.npz`` file through memory maps, so that only the bytes that are used are read.

``np.load`` reads a whole member, and reads the zip's directory again for each variable of each unit; a dense
unit of a large model has gigabytes. Unit files are immutable and named by their content, and their sha256 has
been compared before they are read, so that the checksums of the zip are not needed.
"""

from __future__ import annotations

import struct
import zipfile
from functools import lru_cache
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Self

import numpy as np
from numpy.lib import format as npy

from qloc.arrays import Array

_LOCAL_HEADER: Final = struct.Struct("<26x2H")
"""Local header of a zip member; its last two numbers are the lengths of name and extra field behind it."""


class _Member(NamedTuple):
    offset: int
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


class MappedUnit:
    """The arrays of an ``np.savez`` file by name; a context manager, as the result of ``np.load`` is.

    Parameters
    ----------
    path : Path
        An archive of uncompressed arrays of numbers.

    Raises
    ------
    ValueError
        The file is none, or has a member that is compressed, is no array of numbers (one of objects would be
        pointers that the file gives), or ends outside the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._members = path, _members(path)

    def __getitem__(self, name: str) -> Array:
        """Return one array by name; its bytes are read when they are used."""
        member = self._members[name]
        if not prod(member.shape):
            return np.zeros(member.shape, member.dtype)
        order = "F" if member.fortran else "C"
        mapped = np.memmap(self._path, member.dtype, "r", member.offset, member.shape, order)  # type: ignore[call-overload]
        return np.asarray(mapped)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: no file is held open, and a mapping ends with the array made from it."""


@lru_cache(maxsize=2**14)
def _members(path: Path) -> dict[str, _Member]:
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as source:
            size = path.stat().st_size
            return {
                info.filename.removesuffix(".npy"): _member(source, info, size) for info in archive.infolist()
            }
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, SyntaxError) as error:
        raise ValueError(f"{path.name} is no archive of arrays: {error}") from None


def _member(source: BinaryIO, info: zipfile.ZipInfo, size: int) -> _Member:
    at = info.header_offset
    source.seek(at)
    lengths = _LOCAL_HEADER.unpack(source.read(_LOCAL_HEADER.size))
    source.seek(at + _LOCAL_HEADER.size + sum(lengths))
    version = npy.read_magic(source)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(source)
    end = source.tell() + prod(shape) * dtype.itemsize
    if (
        info.compress_type != zipfile.ZIP_STORED
        or dtype.kind not in "iufb"
        or min(shape, default=0) < 0
        or end > size
    ):
        raise ValueError(f"member {info.filename} is {dtype} {shape}, not an array of numbers in the file")
    return _Member(source.tell(), shape, fortran, dtype)
