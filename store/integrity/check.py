"""Whether a path is a qloc store of a schema that this version reads; if not, all that speaks against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr

from qloc.errors import SchemaError, message
from qloc.store.files.place import Place
from qloc.store.names import LEDGER, MANIFEST
from qloc.store.places.open_place import place_of
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import FACTS, Variable
from qloc.store.schema.versions import upgraded
from qloc.vocabulary import SLOT

_MARKS = ("schema_version", "fingerprint", "layout")
OURS = (*_MARKS, "phases")
"""Root attributes that the store writes; the others describe the study."""

_ACTION = "Give the path of a store that qloc extract wrote"


def is_store(path: Path) -> bool:
    """Whether the path is a folder with the root of a qloc store, of whatever schema."""
    try:
        return path.is_dir() and all(mark in _root(path)["attributes"] for mark in _MARKS)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def root_attributes(path: Path | Place) -> dict[str, Any]:
    """The root attributes of a store, read without Zarr, so that this works whatever else is broken.

    Returns
    -------
    dict : as the present schema has them, but for ``schema_version``, which is the store's.

    Raises
    ------
    SchemaError : the path is not a qloc store, or one of a newer schema.
    """
    place = place_of(path)
    at = str(place.path)
    try:
        root = _root(place)
    except (OSError, ValueError) as error:
        said = error.strerror or str(error) if isinstance(error, OSError) else f"no JSON: {error}"
        raise SchemaError(
            message("zarr.json", said, "the root of a Zarr v3 hierarchy", at, _ACTION)
        ) from None
    attributes = root.get("attributes") if isinstance(root, dict) else None
    absent = [mark for mark in _MARKS if not isinstance(attributes, dict) or mark not in attributes]
    if not isinstance(attributes, dict) or absent:
        expected = f"root attributes {', '.join(_MARKS)}"
        raise SchemaError(message("Zarr hierarchy", "another program's", expected, at, _ACTION))
    return upgraded(attributes, place)


def layout_of(path: str | Path | Place) -> Layout:
    """The layout of a store, complete or not.

    Raises
    ------
    SchemaError : the path is not a qloc store, or one of a newer schema.
    """
    place = place_of(path)
    attributes = root_attributes(place)
    try:
        return Layout.read(attributes["layout"], attributes.get("phases", {}))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        what = message("layout", str(error), "as qloc writes it", str(place.path), _ACTION)
        raise SchemaError(what) from None


def complete(path: Path | Place) -> bool:
    """Whether a store says that it is complete; False where it is being written.

    Raises
    ------
    SchemaError : it has neither a manifest nor a ledger: parts were taken away.
    """
    place = place_of(path)
    at = place.path
    if place.size(MANIFEST) is not None:
        return True
    if isinstance(at, Path) and ((at / LEDGER).is_dir() or (at / MANIFEST).exists()):
        return False
    expected = "manifest.json (complete) or ledger/ (being written)"
    raise SchemaError(
        message("store", "without either", expected, str(at), "Take the store from its source again")
    )


def check(path: Path | Place, layout: Layout, *, whole: bool) -> None:
    """Compare every array of a store with the schema; of an unfinished one, those of /facts.

    Raises
    ------
    SchemaError : all that is missing, or has other dims, dtype or shape.
    """
    variables = (*FACTS, *(layout.variables() if whole else ()))
    if problems := list(_problems(place_of(path), layout, variables)):
        raise SchemaError(problems)


def _problems(place: Place, layout: Layout, variables: tuple[Variable, ...]) -> Iterator[str]:
    found: dict[str, zarr.Array[Any]] = {}
    path, opened = place.path, place.zarr()
    for variable in variables:
        try:
            found[variable.path] = zarr.open_array(opened, path=variable.path, mode="r", zarr_format=3)
        except (OSError, ValueError, LookupError, TypeError) as error:
            there = place.size(f"{variable.path}/zarr.json") is not None
            got = f"unreadable ({error})" if there else "missing"
            yield message(f"array {variable.path}", got, "an array of the schema", str(path), _SOURCE)
    slots = found.get("signals/panel_neuron")
    n_slots = slots.shape[-1] if slots is not None and slots.ndim else 0
    for variable in variables:
        array = found.get(variable.path)
        if array is None or (slots is None and SLOT in variable.dims):
            continue
        expected = (variable.dims, layout.dtype(variable), layout.shape(variable, n_slots))
        found_here = (_dims(array), _name(array), array.shape)
        if found_here != expected:
            got = _words(*found_here)
            yield message(f"array {variable.path}", got, _words(*expected), str(path), _SOURCE)


_SOURCE = "Take the store from its source again"


def _dims(array: zarr.Array[Any]) -> tuple[str | None, ...]:
    names = array.metadata.to_dict().get("dimension_names")
    return tuple(names) if isinstance(names, (tuple, list)) else (None,) * array.ndim


def _words(dims: tuple[str | None, ...], dtype: str, shape: tuple[int, ...]) -> str:
    axes = ", ".join(f"{dim} {size}" for dim, size in zip(dims, shape, strict=True))
    return f"{dtype} ({axes})"


def _name(array: zarr.Array[Any]) -> str:
    return "string" if array.dtype.kind == "T" else str(array.dtype)


def _root(path: Path | Place) -> Any:
    return json.loads(place_of(path).read("zarr.json"))
