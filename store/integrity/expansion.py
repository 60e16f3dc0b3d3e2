"""Refuse arrays that would take far more memory than a store has bytes of them.

Shapes and chunks are bounded by :mod:`qloc.store.schema.metadata`, but a shape within these bounds may still
stand for gigabytes of missing values of which nothing is stored. So sizes are held against what is stored.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from qloc.errors import message
from qloc.store.files.place import Place
from qloc.store.names import ROOT, piece_of
from qloc.store.schema.metadata import DTYPES

FREE_BYTES: Final = 2**28
"""An array may become so large, in bytes, whatever is stored of it: some are missing values throughout."""

MOST_EXPANSION: Final = 2**12
"""Most bytes that one stored byte of a larger array can become."""

MOST_OF_STORE: Final = 2**6
"""Most bytes of a larger array for each byte of the whole store. Arrays of a phase have a row for every query
or fact: where few were traced or edited, most are missing values, of which next to nothing is stored."""

FREE_CHUNKS: Final = 2**16
"""An array may be cut into so many chunks whatever is stored of it."""

MOST_INNER_CHUNKS: Final = 2**14
"""Most chunks in one shard: their index is read whole."""

_TEXT_BYTES: Final = 16
_ACTION: Final = "Do not use this store; take it from its source again"


def problems(place: Place, sizes: Mapping[str, int]) -> list[str]:
    """List the arrays of a store that are larger than what is stored of them allows.

    The metadata must be safe to read (:func:`qloc.store.schema.metadata.problems`).

    Parameters
    ----------
    place : Place
        The store.
    sizes : mapping of str to int
        Size of every object of the store in bytes, by its path.

    Returns
    -------
    list of str
        One message for each array.
    """
    stored, pieces = Counter[str](), Counter[str]()
    for name, size in sizes.items():
        array, chunk = piece_of(name)
        if chunk:
            stored[array] += size
            pieces[array] += 1
    least = max(FREE_BYTES, MOST_OF_STORE * sum(sizes.values()))
    return [
        text
        for path, node in _arrays(place, sizes)
        for text in _array(path, node, stored[path], pieces[path], least, str(place.path))
    ]


def _arrays(place: Place, sizes: Mapping[str, int]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if place.consolidated:
        inner = json.loads(place.read(ROOT)).get("consolidated_metadata") or {}
        nodes = inner.get("metadata", {})
    else:
        names = [name for name in sizes if name.endswith(f"/{ROOT}")]
        nodes = {name.removesuffix(f"/{ROOT}"): json.loads(place.read(name)) for name in names}
    yield from ((path, node) for path, node in nodes.items() if node["node_type"] == "array")


def _array(
    path: str, node: Mapping[str, Any], stored: int, pieces: int, least: int, at: str
) -> Iterator[str]:
    shape, dtype = node["shape"], node["data_type"]
    chunk = node["chunk_grid"]["configuration"]["chunk_shape"]
    expanded = math.prod(shape) * (_TEXT_BYTES if dtype == "string" else DTYPES[dtype])
    most = max(least, MOST_EXPANSION * stored)
    if expanded > most:
        got = f"{expanded} bytes, of which {stored} are stored"
        yield message(f"size of {path}", got, f"at most {most}", at, _ACTION)
    n_chunks = math.prod(-(-size // max(step, 1)) for size, step in zip(shape, chunk, strict=True))
    if n_chunks > max(FREE_CHUNKS, pieces):
        got = f"{n_chunks}, of which {pieces} are stored"
        yield message(
            f"number of chunks of {path}", got, f"at most {FREE_CHUNKS}, or all stored", at, _ACTION
        )
    for codec in node["codecs"]:
        if codec["name"] == "sharding_indexed":
            inner = codec["configuration"]["chunk_shape"]
            n_inner = math.prod(-(-size // max(step, 1)) for size, step in zip(chunk, inner, strict=True))
            nested = [one["name"] for one in codec["configuration"]["codecs"]]
            if n_inner > MOST_INNER_CHUNKS or "sharding_indexed" in nested:
                got = f"{n_inner} chunks of {', '.join(nested)}"
                rule = f"at most {MOST_INNER_CHUNKS}, without shards of their own"
                yield message(f"a shard of {path}", got, rule, at, _ACTION)
