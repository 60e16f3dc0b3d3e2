"""From one HDF5 file back to a store: the same arrays, bit for bit, or an error that names which is not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import zarr

from qloc.block import Array
from qloc.errors import SchemaError, VerificationError, message
from qloc.store import arrays, card, check, manifest, metadata
from qloc.store.archive import is_inside
from qloc.store.aside import folder_aside, refuse_present
from qloc.store.assemble import consolidate
from qloc.store.hdf5 import ATTRIBUTES, MANIFEST_ATTRIBUTE, NO_VALUES, NOT_ALONG, SHA256, Digest, pieces
from qloc.store.schema import SCHEMA_VERSION, STRING, Variable
from qloc.store.verify import verify

MOST_EXPANSION: Final = 1100
"""What a byte of gzip can become, and a little more."""

_ACTION: Final = "Export it again from its store"
_RESERVED: Final = ("zarr.json", manifest.MANIFEST, card.CARD, "c")


def import_hdf5(source: str | Path, out: str | Path) -> Path:
    """Make a store of an HDF5 file that :func:`qloc.store.hdf5.export` wrote.

    Returns
    -------
    Path : the store. With the library versions that its source was written by, it has the same bytes.

    Raises
    ------
    InputError : something is at ``out``.
    SchemaError : the file is no HDF5 file, or none of a store.
    VerificationError : it has what no store has, or arrays are not those exported; every problem.
    StorageError : the disk refused; nothing is left.
    """
    source, out = Path(source), Path(out)
    refuse_present(out)
    with _opened(source) as opened:
        said = _manifest(opened, source)
        if problems := list(_problems(opened, source)):
            raise VerificationError(problems)
        with folder_aside(out) as aside, arrays.whole_writes():
            if problems := list(_written(opened, aside, source)):
                raise VerificationError(problems)
            consolidate(aside)
            card.write(aside, check.layout_of(aside))
            kept = {name: said[name] for name in ("run", "notes")}
            manifest.write(aside, schema_version=SCHEMA_VERSION, leave_out=(), **kept)
            if problems := verify(aside):
                raise VerificationError(text.replace(str(aside), str(out)) for text in problems)
    return out


def _opened(source: Path) -> Any:
    try:
        return h5py.File(source, "r")
    except OSError as error:
        rule = "an HDF5 file that qloc store export wrote"
        text = message("file", str(error).splitlines()[0], rule, str(source), "Give the path of one")
        raise SchemaError(text) from None


def _manifest(opened: Any, source: Path) -> dict[str, Any]:
    raw = opened.attrs.get(MANIFEST_ATTRIBUTE)
    if not isinstance(raw, str) or ATTRIBUTES not in opened.attrs:
        expected = f"root attributes {ATTRIBUTES}, {MANIFEST_ATTRIBUTE}"
        text = message("HDF5 file", "another program's", expected, str(source), "Give one of a store")
        raise SchemaError(text)
    return manifest.parsed(raw.encode(), source)


def _problems(opened: Any, source: Path) -> Iterator[str]:
    """What no export has: links, foreign bytes, types and sizes."""
    for place, group in (("/", opened), *((name, opened.get(name)) for name in _own(opened))):
        try:
            whole = isinstance(json.loads(group.attrs[ATTRIBUTES]), dict)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
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
            elif text := _dataset(opened[name][inner]):
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


def _dataset(dataset: Any) -> str:
    """Why a dataset is not to be read; empty where it is."""
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
    labels = [dim.label for dim in dataset.dims]
    if not dataset.shape or not all(labels) or not isinstance(dataset.attrs.get(SHA256), str):
        return f"without dims or {SHA256}"
    return ""


def _dtype(dataset: Any) -> str:
    text = h5py.check_string_dtype(dataset.dtype)
    if text is not None:
        return STRING if text.encoding == "utf-8" and text.length is None else str(text)
    return str(dataset.dtype.newbyteorder("="))


def _is_scale(dataset: Any) -> bool:
    name = dataset.attrs.get("NAME", b"")
    raw = name.encode() if isinstance(name, str) else bytes(name)
    return raw.startswith(NO_VALUES.encode())


def _written(opened: Any, store: Path, source: Path) -> Iterator[str]:
    """Write every array; tell which are not those that were exported."""
    root = zarr.create_group(store, zarr_format=3, attributes=json.loads(opened.attrs[ATTRIBUTES]))
    for name in _own(opened):
        found = opened[name]
        group = root.create_group(name, attributes=json.loads(found.attrs[ATTRIBUTES]))
        for inner in found:
            if not _is_scale(found[inner]):
                yield from _copied(group, name, inner.removeprefix(NOT_ALONG), found[inner], source)


def _copied(group: zarr.Group, place: str, name: str, dataset: Any, source: Path) -> Iterator[str]:
    dims = tuple(str(dim.label) for dim in dataset.dims)
    meaning, dtype = str(dataset.attrs.get("long_name", "")), _dtype(dataset)
    variable = Variable(group=place, name=name, dims=dims, dtype=dtype, meaning=meaning)
    array = arrays.create(group, variable, dtype, dataset.shape)
    made = Digest()
    for piece in pieces(dataset.shape, array.shards or array.chunks):
        values = _values(dataset, piece, dtype)
        made.add(values)
        arrays.put(array, piece, values)
    if made.hex() != dataset.attrs[SHA256]:
        expected = f"sha256 {dataset.attrs[SHA256]}"
        yield message(f"array {place}/{name}", f"sha256 {made.hex()}", expected, str(source), _ACTION)


def _values(dataset: Any, piece: tuple[slice, ...], dtype: str) -> Array:
    if dtype == STRING:
        return np.asarray(dataset.asstr()[piece], dtype=object)
    values: Array = dataset[piece]
    return values.astype(dtype, copy=False)
