"""Check the metadata of a store from an unknown source: reading it must not run code or fill memory.

Names of data types and codecs are a closed list (no pickles, no objects); shapes and chunks are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from qloc.errors import message
from qloc.store.files.place import Place
from qloc.store.names import ROOT
from qloc.store.schema.layout import Layout
from qloc.text.parsing import json_of
from qloc.vocabulary import FACT, QUERY

MOST_ROWS: Final = 2**31 - 1
"""Longest axis: indices into facts, queries and neurons are int32."""

MOST_ARRAY_BYTES: Final = 2**48
"""Largest array, in bytes, uncompressed."""

MOST_CHUNK_BYTES: Final = 2**30
"""Largest chunk, hence what reading a single number may take, in bytes, uncompressed."""

DTYPES: Final = {
    **{f"int{bits}": bits // 8 for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": bits // 8 for bits in (8, 16, 32, 64)},
    **{f"float{bits}": bits // 8 for bits in (16, 32, 64)},
    "bool": 1,
    "string": 1,
}
_CODECS: Final = ("bytes", "vlen-utf8", "zstd", "crc32c", "sharding_indexed")
_ACTION: Final = "Do not use this store; take it from its source again"


def problems(place: Place) -> list[str]:
    """List every place where a store's metadata differ from what qloc ever writes.

    Parameters
    ----------
    place : Place
        A store, whatever is in it.

    Returns
    -------
    list of str
        One message each; empty if all metadata are safe to read.
    """
    names = (ROOT,) if place.consolidated else place.names()
    return [text for name in names if _is_metadata(name) for text in _file(place, name)]


def _is_metadata(name: str) -> bool:
    return name == ROOT or name.endswith(f"/{ROOT}")


def _file(place: Place, name: str) -> Iterator[str]:
    node, at = name.removesuffix(ROOT).strip("/"), str(place.path / name)
    try:
        metadata = json_of(place.read(name))
    except (OSError, ValueError) as error:
        yield message(f"metadata of {node or 'the root'}", str(error), "JSON that can be read", at, _ACTION)
        return
    yield from _node(metadata, node or "the root", at)
    inner = metadata.get("consolidated_metadata") if isinstance(metadata, dict) else None
    listed = inner.get("metadata") if isinstance(inner, dict) else None
    for child, child_metadata in listed.items() if isinstance(listed, dict) else ():
        yield from _node(child_metadata, f"{child} (consolidated)", at)


def _node(metadata: Any, node: str, at: str) -> Iterator[str]:
    kind = metadata.get("node_type") if isinstance(metadata, dict) else None
    if kind not in ("group", "array") or metadata.get("zarr_format") != 3:
        yield message(f"metadata of {node}", kind, "a group or an array of Zarr v3", at, _ACTION)
    elif kind == "array":
        try:
            yield from _array(metadata, node, at)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            got = f"{type(error).__name__}: {error}"
            yield message(f"metadata of {node}", got, "an array's as qloc writes it", at, _ACTION)


def _array(metadata: Mapping[str, Any], node: str, at: str) -> Iterator[str]:
    dtype, shape = metadata["data_type"], _sizes(metadata["shape"])
    if not isinstance(dtype, str) or dtype not in DTYPES:
        yield message(f"dtype of {node}", dtype, f"one of {', '.join(DTYPES)}", at, _ACTION)
        return
    itemsize = DTYPES[dtype]
    if max(shape, default=0) > MOST_ROWS or math.prod(shape) * itemsize > MOST_ARRAY_BYTES:
        rule = f"axes of at most {MOST_ROWS}, {MOST_ARRAY_BYTES} bytes in all"
        yield message(f"shape of {node}", shape, rule, at, _ACTION)
    if metadata["chunk_grid"]["name"] != "regular" or metadata.get("storage_transformers"):
        yield message(f"chunks of {node}", metadata["chunk_grid"]["name"], "a regular grid", at, _ACTION)
        return
    chunk = _sizes(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    if len(chunk) != len(shape) or math.prod(chunk) * itemsize > MOST_CHUNK_BYTES:
        rule = f"{len(shape)} axes, at most {MOST_CHUNK_BYTES} bytes"
        yield message(f"chunk of {node}", chunk, rule, at, _ACTION)
    for codec in _codecs(metadata["codecs"]):
        if codec not in _CODECS:
            yield message(f"codec of {node}", codec, f"one of {', '.join(_CODECS)}", at, _ACTION)


def _sizes(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError(f"{sizes!r} is no shape")
    return tuple(sizes)


def _codecs(codecs: Any) -> Iterator[Any]:
    for codec in codecs:
        yield codec["name"]
        inner = codec.get("configuration") or {}
        for name in ("codecs", "index_codecs"):
            yield from _codecs(inner.get(name, ()))


def layout_problems(layout: Layout, at: str) -> list[str]:
    """List impossible sizes and units of a layout: units must cut facts and queries without gap or overlap.

    Parameters
    ----------
    layout : Layout
        The layout of a store.
    at : str
        Where it was read, for messages.

    Returns
    -------
    list of str
        One message each.
    """
    texts = []
    sizes = layout.sizes
    for phase in layout.phases.values():
        sizes = {**sizes, **phase.sizes}
    for name, size in sizes.items():
        if type(size) is not int or not 0 <= size <= MOST_ROWS:
            texts.append(message(f"size of {name}", size, f"from 0 to {MOST_ROWS}", at, _ACTION))
    if not all(isinstance(name, str) for name in (*layout.methods, *layout.relations)):
        names = [*layout.methods, *layout.relations]
        texts.append(message("names of methods and relations", names, "texts", at, _ACTION))
    if type(layout.capacity) is not int:
        texts.append(message("capacity", layout.capacity, "a whole number", at, _ACTION))
    if texts:
        return texts
    if layout.n_network > MOST_ROWS:
        texts.append(message("neurons of the network", layout.n_network, f"at most {MOST_ROWS}", at, _ACTION))
    ends = [(0, 0), *((unit.last_fact, unit.last_query) for unit in layout.units)]
    starts = [
        *((unit.first_fact, unit.first_query) for unit in layout.units),
        (sizes[FACT], sizes[QUERY]),
    ]
    runs = all(unit.n_facts >= 0 and unit.n_queries >= 0 for unit in layout.units)
    if starts != ends or not runs:
        rule = "runs that part the facts and queries"
        texts.append(message("units", "with gaps or overlaps", rule, at, _ACTION))
    return texts
