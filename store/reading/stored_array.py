"""Arrays of a store, read when computed; what cannot be read is told by array and chunk."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from qloc.arrays import Array
from qloc.errors import QlocError, SchemaError, VerificationError
from qloc.store.files.place import Place
from qloc.store.integrity.verify import object_problems
from qloc.store.schema.zarr_arrays import unreadable


@contextmanager
def readable(place: Place, what: str, names: Callable[[], Iterable[str]]) -> Iterator[None]:
    """Turn the errors of zarr and its codecs into one that says which objects of a store are damaged.

    Parameters
    ----------
    place : Place
        The store.
    what : str
        What is read, such as ``array signals/attribution``.
    names : callable
        Gives the paths of the objects that it is stored in. Called after an error only.

    Yields
    ------
    None
        Nothing; read inside the block.

    Raises
    ------
    VerificationError
        Something cannot be read. It names each of the objects that differ from the manifest; where none
        does, what is read. Our own errors, and a lack of memory, pass unchanged.
    """
    try:
        yield
    except (QlocError, MemoryError):
        raise
    except Exception as error:
        try:
            problems = object_problems(place, names())
        except (SchemaError, VerificationError, OSError):  # an unfinished store, or a damaged manifest
            problems = []
        raise VerificationError(problems or unreadable(what, error, str(place.path))) from error


class StoredArray(BackendArray):
    """One array of a complete store, read when computed.

    Parameters
    ----------
    place : Place
        The store.
    path : str
        The array's path inside the store, such as ``signals/attribution``.
    variable : xarray.Variable
        The array as xarray opens it, not read yet.
    check : callable, optional
        Called with the values whenever some are read, and the slices of the array that they are; raises where
        they are not those of a store.

    Attributes
    ----------
    steps : tuple of int
        Lengths of a stored object, a shard or else a chunk, along each axis.
    """

    def __init__(
        self,
        place: Place,
        path: str,
        variable: xr.Variable,
        check: Callable[[Array, tuple[slice, ...]], None] | None = None,
    ) -> None:
        self._place, self._path, self._variable, self._check = place, path, variable, check
        kept = variable.encoding  # of texts, earlier xarray keeps no chunks
        self.steps: tuple[int, ...] = kept.get("shards") or kept.get("chunks") or _objects_of(place, path)
        self.shape, self.dtype = (
            variable.shape,
            np.dtype(object if variable.dtype.kind == "T" else variable.dtype),
        )

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> Array:
        # Read with every axis kept, single indices too, so that the check knows which is which.
        kept = tuple(part if isinstance(part, slice) else slice(part, part + 1 or None) for part in key)
        with readable(self._place, f"array {self._path}", lambda: self._names(key)):
            values: Array = self._variable[kept].to_numpy()
        if self._check is not None:
            self._check(values, kept)
        inside = tuple(slice(None) if isinstance(part, slice) else 0 for part in key)
        return np.asarray(values[inside], dtype=self.dtype)

    def _names(self, key: tuple[int | slice, ...]) -> Iterator[str]:
        """Name the stored objects that a selection touches."""
        touched = [
            sorted({index // step for index in np.atleast_1d(np.arange(size)[part]).tolist()})
            for part, size, step in zip(key, self.shape, self.steps, strict=True)
        ]
        for numbers in itertools.product(*touched):
            yield "/".join([self._path, "c", *map(str, numbers)])


def _objects_of(place: Place, path: str) -> tuple[int, ...]:
    """Return the lengths of an array's objects, as its own metadata say."""
    metadata = json.loads(place.read(f"{path}/zarr.json"))
    return tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
