"""A store as one HDF5 file: groups are groups, dims are dimension scales as netCDF-4 has them.

h5py opens it, and xarray with h5netcdf. A dimension without values of its own is a scale of zeros; a variable
with the name of a dimension that it is not along (/signals/fact) is called ``_nc4_non_coord_fact``, as
netCDF-4 does. Every array has the sha256 of its values, so that importing can tell that they are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import zarr

from qloc.block import Array
from qloc.errors import InputError, VerificationError, message
from qloc.store.aside import file_aside, refuse_present
from qloc.store.manifest import MANIFEST
from qloc.store.place import place_of
from qloc.store.verify import verify

ATTRIBUTES: Final = "qloc_attributes"
"""JSON of a group's attributes as the store has them; beside it they stand one by one, for readers."""

MANIFEST_ATTRIBUTE: Final = "qloc_manifest"
SHA256: Final = "qloc_sha256"
NOT_ALONG: Final = "_nc4_non_coord_"
NO_VALUES: Final = "This is a netCDF dimension but not a netCDF variable."


class Digest:
    """sha256 of an array's values in C order, little endian; of a string, its length (8 bytes) and UTF-8."""

    def __init__(self) -> None:
        self._made = hashlib.sha256()

    def add(self, values: Array) -> None:
        """The next values, in C order."""
        if values.dtype == object:
            for text in values.reshape(-1):
                raw = str(text).encode()
                self._made.update(len(raw).to_bytes(8, "little") + raw)
        else:
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            self._made.update(np.ascontiguousarray(little).tobytes())

    def hex(self) -> str:
        """The digest."""
        return self._made.hexdigest()


def export(store: str | Path, out: str | Path) -> Path:
    """Write a complete store that verifies, packed or not, as one HDF5 file.

    Raises
    ------
    InputError : something is at ``out``, or a text has a NUL, which HDF5 cannot keep.
    SchemaError : the path is no store.
    VerificationError : the store is unfinished, or not what its manifest says; every problem.
    StorageError : the disk refused; nothing is left.
    """
    place, out = place_of(store), Path(out)
    refuse_present(out)
    if problems := verify(place):
        raise VerificationError(problems)
    root = zarr.open_group(place.zarr(), mode="r", zarr_format=3, use_consolidated=False)
    with file_aside(out) as aside, h5py.File(aside, "w", locking=False) as target:
        _attributes(target, root)
        target.attrs[MANIFEST_ATTRIBUTE] = place.read(MANIFEST).decode()
        for name in sorted({name.split("/")[0] for name in place.names() if "/" in name}):
            _group(target.create_group(name), root[name])  # type: ignore[arg-type]
    return out


def _attributes(target: Any, group: zarr.Group) -> None:
    found = group.attrs.asdict()
    target.attrs[ATTRIBUTES] = json.dumps(found, ensure_ascii=False)
    for name, value in found.items():
        plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        target.attrs[name] = value if plain else json.dumps(value, ensure_ascii=False)


def _group(target: Any, group: zarr.Group) -> None:
    _attributes(target, group)
    arrays = dict(sorted(group.arrays()))
    along = {name: _dims(array) for name, array in arrays.items()}
    sizes = {
        dim: n for name, array in arrays.items() for dim, n in zip(along[name], array.shape, strict=True)
    }
    written: dict[str, Any] = {}
    for name, array in arrays.items():
        stands_for = name in sizes and along[name] != (name,)
        written[name] = _array(target, f"{NOT_ALONG}{name}" if stands_for else name, array)
    scales = {}
    for number, (dim, size) in enumerate(sorted(sizes.items())):
        own = along.get(dim) == (dim,)
        scales[dim] = written[dim] if own else target.create_dataset(dim, shape=(size,), dtype=">f4")
        scales[dim].make_scale(dim if own else f"{NO_VALUES}{number:10d}")
    for name, dataset in written.items():
        for axis, dim in enumerate(along[name]):
            dataset.dims[axis].label = dim
            if dataset is not scales[dim]:
                dataset.dims[axis].attach_scale(scales[dim])


def _dims(array: zarr.Array[Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in array.metadata.to_dict()["dimension_names"])  # type: ignore[union-attr]


def _array(target: Any, name: str, array: zarr.Array[Any]) -> Any:
    text = array.dtype.kind == "T"
    filters = {} if text or 0 in array.shape else {"compression": "gzip", "compression_opts": 4}
    dataset = target.create_dataset(
        name,
        shape=array.shape,
        dtype=h5py.string_dtype() if text else array.dtype,
        chunks=None if 0 in array.shape else tuple(map(min, array.chunks, array.shape)),
        shuffle=bool(filters),
        fletcher32=bool(filters),
        **filters,
    )
    made = Digest()
    for piece in pieces(array.shape, (array.shards or array.chunks)):
        values = np.asarray(array[piece])
        values = values.astype(object) if text else values
        made.add(values)
        try:
            dataset[piece] = values
        except ValueError as error:
            what, rule = f"a text of {array.path}", "texts without NUL, which HDF5 cannot keep"
            where, action = str(array.store_path), "Share the store with qloc store pack"
            raise InputError(message(what, str(error), rule, where, action)) from None
    dataset.attrs[SHA256] = made.hex()
    if "long_name" in array.attrs:
        dataset.attrs["long_name"] = array.attrs["long_name"]
    return dataset


def pieces(shape: tuple[int, ...], steps: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Regions one behind another in C order: of each index along the axes that are cut into ones, runs.

    Examples
    --------
    >>> [[(s.start, s.stop) for s in piece] for piece in pieces((2, 3), (1, 2))]
    [[(0, 1), (0, 2)], [(0, 1), (2, 3)], [(1, 2), (0, 2)], [(1, 2), (2, 3)]]
    """
    axis = next((d for d, (n, step) in enumerate(zip(shape, steps, strict=True)) if step > 1 and n > 1), 0)
    step = max(steps[axis], 1) if shape else 1
    for index in np.ndindex(shape[:axis]):
        for first in range(0, shape[axis] if shape else 1, step):
            run = slice(first, min(first + step, shape[axis])) if shape else slice(None)
            before = tuple(slice(n, n + 1) for n in index)
            yield (*before, run, *(slice(0, n) for n in shape[axis + 1 :]))
