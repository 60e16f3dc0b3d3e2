"""What a stranger's metadata may say: only what qloc writes; reading it runs nothing and fills no memory.

Names of data types and codecs are a closed list (no pickles, no objects), shapes and chunks are bounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from qloc.errors import message
from qloc.store.files.place import Place
from qloc.store.names import ROOT
from qloc.vocabulary import FACT, QUERY

MOST_ROWS: Final = 2**31 - 1
"""Indices into facts, queries and neurons are int32."""

MOST_BYTES: Final = 2**48
"""Of an array, uncompressed."""

MOST_CHUNK_BYTES: Final = 2**30
"""What reading one number may take, uncompressed."""

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
    """Every way in which metadata says what qloc never writes.

    Parameters
    ----------
    place : a store, whatever is in it.
    """
    names = (ROOT,) if place.consolidated else place.names()
    return [text for name in names if _is_metadata(name) for text in _file(place, name)]


def _is_metadata(name: str) -> bool:
    return name == ROOT or name.endswith(f"/{ROOT}")


def _file(place: Place, name: str) -> Iterator[str]:
    node, at = name.removesuffix(ROOT).strip("/"), str(place.path / name)
    try:
        found = json.loads(place.read(name))
    except (OSError, ValueError, RecursionError) as error:
        yield message(f"metadata of {node or 'the root'}", str(error), "JSON that can be read", at, _ACTION)
        return
    yield from _node(found, node or "the root", at)
    inner = found.get("consolidated_metadata") if isinstance(found, dict) else None
    listed = inner.get("metadata") if isinstance(inner, dict) else None
    for child, said in listed.items() if isinstance(listed, dict) else ():
        yield from _node(said, f"{child} (consolidated)", at)


def _node(found: Any, node: str, at: str) -> Iterator[str]:
    kind = found.get("node_type") if isinstance(found, dict) else None
    if kind not in ("group", "array") or found.get("zarr_format") != 3:
        yield message(f"metadata of {node}", kind, "a group or an array of Zarr v3", at, _ACTION)
    elif kind == "array":
        try:
            yield from _array(found, node, at)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            got = f"{type(error).__name__}: {error}"
            yield message(f"metadata of {node}", got, "an array's as qloc writes it", at, _ACTION)


def _array(found: Mapping[str, Any], node: str, at: str) -> Iterator[str]:
    dtype, shape = found["data_type"], _sizes(found["shape"])
    if not isinstance(dtype, str) or dtype not in DTYPES:
        yield message(f"dtype of {node}", dtype, f"one of {', '.join(DTYPES)}", at, _ACTION)
        return
    itemsize = DTYPES[dtype]
    if max(shape, default=0) > MOST_ROWS or math.prod(shape) * itemsize > MOST_BYTES:
        rule = f"axes of at most {MOST_ROWS}, {MOST_BYTES} bytes in all"
        yield message(f"shape of {node}", shape, rule, at, _ACTION)
    if found["chunk_grid"]["name"] != "regular" or found.get("storage_transformers"):
        yield message(f"chunks of {node}", found["chunk_grid"]["name"], "a regular grid", at, _ACTION)
        return
    chunk = _sizes(found["chunk_grid"]["configuration"]["chunk_shape"])
    if len(chunk) != len(shape) or math.prod(chunk) * itemsize > MOST_CHUNK_BYTES:
        rule = f"{len(shape)} axes, at most {MOST_CHUNK_BYTES} bytes"
        yield message(f"chunk of {node}", chunk, rule, at, _ACTION)
    for codec in _codecs(found["codecs"]):
        if codec not in _CODECS:
            yield message(f"codec of {node}", codec, f"one of {', '.join(_CODECS)}", at, _ACTION)


def _sizes(found: Any) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(type(n) is int and n >= 0 for n in found):
        raise ValueError(f"{found!r} is no shape")
    return tuple(found)


def _codecs(found: Any) -> Iterator[Any]:
    for codec in found:
        yield codec["name"]
        inner = codec.get("configuration") or {}
        for name in ("codecs", "index_codecs"):
            yield from _codecs(inner.get(name, ()))


def layout_problems(layout: Any, at: str) -> list[str]:
    """Sizes and units that no study has: they must part its facts and queries without gap or overlap."""
    found = []
    sizes = layout.sizes
    for name, size in sizes.items():
        if not 0 <= size <= MOST_ROWS:
            found.append(message(f"size of {name}", size, f"from 0 to {MOST_ROWS}", at, _ACTION))
    ends = [(0, 0), *((unit.last_fact, unit.last_query) for unit in layout.units)]
    starts = [
        *((unit.first_fact, unit.first_query) for unit in layout.units),
        (sizes.get(FACT), sizes.get(QUERY)),
    ]
    if starts != ends:
        rule = "runs that part the facts and queries"
        found.append(message("units", "with gaps or overlaps", rule, at, _ACTION))
    return found
