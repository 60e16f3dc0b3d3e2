"""Convert a store to one HDF5 file and back, bit for bit.

Groups become groups, and dims become dimension scales, as netCDF-4 has them, so that h5py opens the file,
and xarray with h5netcdf. A dimension without values of its own becomes a scale of zeros. A variable that
has the name of a dimension which it is not along (/signals/fact) is called ``_nc4_non_coord_fact``, as
netCDF-4 does.

Every array carries the sha256 of its values, and the root carries the manifest of the store. With them the
import shows that the values are those exported. A file from a stranger is checked before any array of it is
read: links, foreign types and sizes that its bytes cannot fill are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import zarr

from qloc.arrays import Array
from qloc.errors import InputError, QlocError, SchemaError, VerificationError, message
from qloc.store.exchange.hdf5_sink import Sink
from qloc.store.files.place import is_inside
from qloc.store.files.staging import file_aside, folder_aside, refuse_present
from qloc.store.integrity import check
from qloc.store.integrity.verify import verify
from qloc.store.names import CARD, MANIFEST
from qloc.store.places.open_place import place_of
from qloc.store.schema import manifest, metadata, zarr_arrays
from qloc.store.schema.bounded_codecs import bounded_codecs
from qloc.store.schema.variables import SCHEMA_VERSION, STRING, Variable
from qloc.store.schema.zarr_arrays import reading
from qloc.store.writing.assemble import consolidate
from qloc.store.writing.card import write_card
from qloc.text.parsing import json_of

ATTRIBUTES: Final = "qloc_attributes"
"""Attribute with the JSON of a group's attributes; beside it they stand one by one, for other readers."""

MANIFEST_ATTRIBUTE: Final = "qloc_manifest"
SHA256: Final = "qloc_sha256"
NOT_ALONG: Final = "_nc4_non_coord_"
"""Prefix of a variable that has the name of a dimension which it is not along."""

NO_VALUES: Final = "This is a netCDF dimension but not a netCDF variable."
"""Name of a dimension scale without values of its own, as netCDF-4 defines it."""

_LABELS: Final = "DIMENSION_LABELS"

MOST_EXPANSION: Final = 1100
"""Most bytes that one byte of gzip can become (1032), and a little more."""

_RESERVED: Final = ("zarr.json", MANIFEST, CARD)
_ACTION: Final = "Export it again from its store"


class Digest:
    """Running sha256 of the values of an array in C order.

    Numbers are hashed as little-endian bytes, a string as its length (8 bytes) and its UTF-8.
    """

    def __init__(self) -> None:
        self._made = hashlib.sha256()

    def add(self, values: Array) -> None:
        """Add the next values in C order.

        Parameters
        ----------
        values : ndarray
            Numbers, or strings as objects.
        """
        if values.dtype == object:
            for text in values.reshape(-1):
                raw = str(text).encode()
                self._made.update(len(raw).to_bytes(8, "little") + raw)
        else:
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            self._made.update(np.ascontiguousarray(little).tobytes())

    def hex(self) -> str:
        """Return the digest in hex.

        Returns
        -------
        str
            64 hex digits.
        """
        return self._made.hexdigest()


def pieces(shape: tuple[int, ...], steps: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield regions that follow each other in C order and cover an array.

    The first axis with a step above 1 is cut into runs of its step. Axes before it are cut into single
    indices; axes after it stay whole.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    steps : tuple of int
        Chunk or shard shape.

    Yields
    ------
    tuple of slice
        One slice for each axis.

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


# From a store to HDF5


def export(store: str | Path, out: str | Path) -> Path:
    """Write a complete store that verifies as one HDF5 file.

    Parameters
    ----------
    store : str or Path
        The store, packed or not.
    out : str or Path
        The file to write.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If something is at ``out``, or a text has a NUL, which HDF5 cannot keep.
    SchemaError
        If the path is no store.
    VerificationError
        If the store is unfinished, or differs from its manifest; lists each problem.
    StorageError
        If the disk refused; nothing is left.
    """
    place, out = place_of(store), Path(out)
    refuse_present(out)
    if problems := verify(place):
        raise VerificationError(problems)
    with file_aside(out) as aside, aside.open("r+b", buffering=0) as file:
        sink = Sink(file, out)
        # A stranger's store verifies whatever is in it; what the disk refuses is told by the sink alone.
        with reading("store", str(place.path)), h5py.File(sink, "w") as target:
            root = zarr.open_group(place.zarr(), mode="r", zarr_format=3, use_consolidated=False)
            _write_attributes(target, root)
            target.attrs[MANIFEST_ATTRIBUTE] = place.read(MANIFEST).decode()
            for name in sorted({name.split("/")[0] for name in place.names() if "/" in name}):
                _write_group(target.create_group(name), root[name], sink)  # type: ignore[arg-type]
        sink.require_written()
    return out


def _write_attributes(target: Any, group: zarr.Group) -> None:
    attributes = group.attrs.asdict()
    target.attrs[ATTRIBUTES] = json.dumps(attributes, ensure_ascii=False)
    for name, value in attributes.items():
        plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        target.attrs[name] = value if plain else json.dumps(value, ensure_ascii=False)


def _write_group(target: Any, group: zarr.Group, sink: Sink) -> None:
    _write_attributes(target, group)
    with bounded_codecs():
        arrays = dict(sorted(group.arrays()))
    along = {name: _dims(array) for name, array in arrays.items()}
    sizes = {
        dim: n for name, array in arrays.items() for dim, n in zip(along[name], array.shape, strict=True)
    }
    written: dict[str, Any] = {}
    for name, array in arrays.items():
        stands_for = name in sizes and along[name] != (name,)
        written[name] = _write_array(target, f"{NOT_ALONG}{name}" if stands_for else name, array, sink)
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


def _write_array(target: Any, name: str, array: zarr.Array[Any], sink: Sink) -> Any:
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
    digest = Digest()
    for piece in pieces(array.shape, (array.shards or array.chunks)):
        with reading(f"array {array.path}", str(array.store_path)):
            values = np.asarray(array[piece])
        values = values.astype(object) if text else values
        digest.add(values)
        try:
            dataset[piece] = values
        except ValueError as error:
            what, rule = f"a text of {array.path}", "texts without NUL, which HDF5 cannot keep"
            where, action = str(array.store_path), "Share the store with qloc store pack"
            raise InputError(message(what, str(error), rule, where, action)) from None
        sink.require_written()
    dataset.attrs[SHA256] = digest.hex()
    if "long_name" in array.attrs:
        dataset.attrs["long_name"] = array.attrs["long_name"]
    return dataset


# From HDF5 to a store


def import_hdf5(source: str | Path, out: str | Path) -> Path:
    """Make a store of an HDF5 file that :func:`export` wrote.

    Parameters
    ----------
    source : str or Path
        The HDF5 file.
    out : str or Path
        Where the store is to be.

    Returns
    -------
    Path
        The store. With the library versions that its source was written with, it has the same bytes.

    Raises
    ------
    InputError
        If something is at ``out``.
    SchemaError
        If the file is no HDF5 file, or not one of a store.
    VerificationError
        If the file has content that no store has, or arrays that are not those exported; lists each
        problem.
    StorageError
        If the disk refused; nothing is left.
    """
    source, out = Path(source), Path(out)
    refuse_present(out)
    with _open(source) as opened:
        with _reading_file(source):
            original = _read_manifest(opened, source)
            if problems := list(_problems(opened, source)):
                raise VerificationError(problems)
        with folder_aside(out) as aside, zarr_arrays.whole_writes(), _made_of(source):
            if problems := list(_write_store(opened, aside, source)):
                raise VerificationError(problems)
            consolidate(aside)
            write_card(aside, check.layout_of(aside))
            kept = {name: original[name] for name in ("run", "notes")}
            manifest.write(aside, schema_version=SCHEMA_VERSION, leave_out=(), **kept)
            if problems := verify(aside):
                raise VerificationError(text.replace(str(aside), str(out)) for text in problems)
    return out


@contextmanager
def _reading_file(source: Path) -> Iterator[None]:
    """Turn whatever h5py and libhdf5 raise at a damaged or foreign file into a VerificationError."""
    try:
        yield
    except (QlocError, MemoryError):
        raise
    except Exception as error:
        got = f"unreadable ({type(error).__name__}: {' '.join(str(error).split())[:500]})"
        text = message("HDF5 file", got, "one that qloc store export wrote", str(source), _ACTION)
        raise VerificationError(text) from error


@contextmanager
def _made_of(source: Path) -> Iterator[None]:
    """Turn what is raised at names, shapes and attributes of another form into a VerificationError."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, QlocError):
            raise
        got = f"of another form ({type(error).__name__}: {' '.join(str(error).split())[:500]})"
        text = message("content of the HDF5 file", got, "that of a store", str(source), _ACTION)
        raise VerificationError(text) from error


def _open(source: Path) -> Any:
    try:
        return h5py.File(source, "r")
    except OSError as error:
        rule = "an HDF5 file that qloc store export wrote"
        text = message("file", str(error).splitlines()[0], rule, str(source), "Give the path of one")
        raise SchemaError(text) from None


def _read_manifest(opened: Any, source: Path) -> dict[str, Any]:
    raw = opened.attrs.get(MANIFEST_ATTRIBUTE)
    if not isinstance(raw, str) or ATTRIBUTES not in opened.attrs:
        expected = f"root attributes {ATTRIBUTES}, {MANIFEST_ATTRIBUTE}"
        text = message("HDF5 file", "another program's", expected, str(source), "Give one of a store")
        raise SchemaError(text)
    return manifest.parsed(raw.encode(), source)


def _problems(opened: Any, source: Path) -> Iterator[str]:
    """Yield what no export has: links, foreign attributes, types and sizes."""
    for place, group in (("/", opened), *((name, opened.get(name)) for name in _own(opened))):
        try:
            whole = isinstance(json_of(group.attrs[ATTRIBUTES]), dict)
        except (LookupError, TypeError, ValueError, AttributeError):
            whole = False
        if not whole:
            yield message(f"attributes of {place}", "no JSON", "those of a store", str(source), _ACTION)
    for name in opened:
        if name not in _own(opened):
            yield message(f"object {name!r}", "no group of its own", "a group", str(source), _ACTION)
    for name in _own(opened):
        for inner in opened[name]:
            link, what = opened[name].get(inner, getlink=True), f"object {f'{name}/{inner}'!r}"
            if not isinstance(link, h5py.HardLink) or not _fits(inner.removeprefix(NOT_ALONG)):
                yield message(what, "a link, or an odd name", "an array", str(source), _ACTION)
            elif not isinstance(opened[name][inner], h5py.Dataset):
                yield message(what, "no array", "an array", str(source), _ACTION)
            elif text := _why_unreadable(opened[name][inner]):
                yield message(what, text, "an array as qloc writes it", str(source), _ACTION)


def _own(opened: Any) -> list[str]:
    return [
        name
        for name in opened
        if isinstance(opened.get(name, getlink=True), h5py.HardLink)
        and opened.get(name, getclass=True) is h5py.Group
        and _fits(name)
    ]


def _fits(name: str) -> bool:
    return is_inside(name) and not name.startswith("__") and name not in _RESERVED


def _why_unreadable(dataset: Any) -> str:
    """Return why a dataset is not to be read; empty where it is."""
    dtype = _dtype(dataset)
    if dtype not in metadata.DTYPES:
        return f"of dtype {dtype}"
    if dataset.external or dataset.is_virtual:
        return "in another file"
    if _is_scale(dataset):
        return "" if max(dataset.shape, default=0) <= metadata.MOST_ROWS else f"of shape {dataset.shape}"
    n_bytes = math.prod(dataset.shape) * (16 if dtype == STRING else metadata.DTYPES[dtype])
    stored = dataset.id.get_storage_size()
    if max(dataset.shape, default=0) > metadata.MOST_ROWS or n_bytes > MOST_EXPANSION * stored:
        return f"of shape {dataset.shape} in {stored} bytes"
    labels = _labels(dataset)
    if not dataset.shape or not labels or not all(labels) or not isinstance(dataset.attrs.get(SHA256), str):
        return f"without dims or {SHA256}"
    return ""


def _dtype(dataset: Any) -> str:
    text = h5py.check_string_dtype(dataset.dtype)
    if text is not None:
        return STRING if text.encoding == "utf-8" and text.length is None else str(text)
    return str(dataset.dtype.newbyteorder("="))


def _labels(dataset: Any) -> list[str]:
    """Return the name of each dimension; empty where they are not stored as one text each.

    libhdf5, asked for them, takes whatever the attribute holds for pointers.
    """
    if _LABELS not in dataset.attrs:
        return []
    held = dataset.attrs.get_id(_LABELS)
    text = h5py.check_string_dtype(held.dtype)
    if text is None or text.length is not None or held.shape != (dataset.ndim,):
        return []
    return [label.decode() if isinstance(label, bytes) else str(label) for label in dataset.attrs[_LABELS]]


def _is_scale(dataset: Any) -> bool:
    name = dataset.attrs.get("NAME", b"")
    raw = name.encode() if isinstance(name, str) else bytes(name)
    return raw.startswith(NO_VALUES.encode())


def _write_store(opened: Any, store: Path, source: Path) -> Iterator[str]:
    """Write every array into a new hierarchy; yield which arrays are not those that were exported."""
    with _reading_file(source):
        groups = {name: opened[name] for name in _own(opened)}
        attributes = {name: json_of(group.attrs[ATTRIBUTES]) for name, group in groups.items()}
        of_root = json_of(opened.attrs[ATTRIBUTES])
        arrays = {
            name: {inner: group[inner] for inner in group if not _is_scale(group[inner])}
            for name, group in groups.items()
        }
    root = zarr.create_group(store, zarr_format=3, attributes=of_root)
    for name in groups:
        group = root.create_group(name, attributes=attributes[name])
        for inner, dataset in arrays[name].items():
            yield from _copy_array(group, name, inner.removeprefix(NOT_ALONG), dataset, source)


def _copy_array(group: zarr.Group, place: str, name: str, dataset: Any, source: Path) -> Iterator[str]:
    with _reading_file(source):
        dims = tuple(_labels(dataset))
        meaning, dtype = str(dataset.attrs.get("long_name", "")), _dtype(dataset)
        shape, exported = dataset.shape, dataset.attrs[SHA256]
    variable = Variable(group=place, name=name, dims=dims, dtype=dtype, meaning=meaning)
    array = zarr_arrays.create(group, variable, dtype, shape)
    digest = Digest()
    for piece in pieces(shape, array.shards or array.chunks):
        with _reading_file(source):
            values = _values(dataset, piece, dtype)
            digest.add(values)
        zarr_arrays.put(array, piece, values)
    if digest.hex() != exported:
        expected = f"sha256 {exported}"
        yield message(f"array {place}/{name}", f"sha256 {digest.hex()}", expected, str(source), _ACTION)


def _values(dataset: Any, piece: tuple[slice, ...], dtype: str) -> Array:
    if dtype == STRING:
        return np.asarray(dataset.asstr()[piece], dtype=object)
    values: Array = dataset[piece]
    return values.astype(dtype, copy=False)
