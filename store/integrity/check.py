"""Check whether a path is a qloc store that this version can read, and whether its arrays follow the schema.

The root attributes and the layout are read without Zarr, so that these checks work on damaged stores too.
Every check raises one SchemaError that lists all problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr

from qloc.errors import SchemaError, message
from qloc.store.files.place import Place
from qloc.store.names import LEDGER, MANIFEST, UNITS
from qloc.store.places.open_place import place_of
from qloc.store.schema.layout import Layout
from qloc.store.schema.metadata import layout_problems
from qloc.store.schema.variables import FACTS, Variable
from qloc.store.schema.versions import upgraded
from qloc.store.schema.zarr_arrays import array_at
from qloc.text.parsing import json_of
from qloc.vocabulary import SLOT

_MARKS = ("schema_version", "fingerprint", "layout")
OURS = (*_MARKS, "phases")
"""Root attributes that the store writes; the others describe the study."""

_ACTION = "Give the path of a store that qloc extract wrote"


def is_store(path: Path) -> bool:
    """Return whether the path is a folder with the root of a qloc store, of any schema version.

    Parameters
    ----------
    path : Path
        Any path; it need not exist.

    Returns
    -------
    bool
        True where ``zarr.json`` has the root attributes that only qloc writes.
    """
    try:
        return path.is_dir() and all(mark in _root(path)["attributes"] for mark in _MARKS)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def root_attributes(path: Path | Place) -> dict[str, Any]:
    """Return the root attributes of a store, upgraded to the present schema.

    They are read without Zarr, so that this works whatever else is broken.

    Parameters
    ----------
    path : Path or Place
        The store: a folder, an archive, or an opened place.

    Returns
    -------
    dict
        The attributes as the present schema has them. Only ``schema_version`` stays that of the store.

    Raises
    ------
    SchemaError
        If the path is not a qloc store, or the store has a newer schema.
    """
    place = place_of(path)
    at = str(place.path)
    try:
        root = _root(place)
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else f"no JSON: {error}"
        raise SchemaError(
            message("zarr.json", reason, "the root of a Zarr v3 hierarchy", at, _ACTION)
        ) from None
    attributes = root.get("attributes") if isinstance(root, dict) else None
    absent = [mark for mark in _MARKS if not isinstance(attributes, dict) or mark not in attributes]
    if not isinstance(attributes, dict) or absent:
        expected = f"root attributes {', '.join(_MARKS)}"
        raise SchemaError(message("Zarr hierarchy", "another program's", expected, at, _ACTION))
    if not _are_fingerprints(attributes["fingerprint"]):
        rule = "of each phase its digest, and what it is made from"
        raise SchemaError(message("fingerprint", "another form", rule, at, _ACTION))
    return upgraded(attributes, place)


def _are_fingerprints(kept: object) -> bool:
    return isinstance(kept, dict) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("digest"), str)
        and isinstance(entry.get("made_from"), dict)
        for entry in kept.values()
    )


def layout_of(path: str | Path | Place) -> Layout:
    """Return the layout of a store, complete or not.

    Parameters
    ----------
    path : str, Path or Place
        The store.

    Returns
    -------
    Layout
        Tier, floor, methods, sizes, units and phases of the store.

    Raises
    ------
    SchemaError
        If the path is not a qloc store, or the store has a newer schema, or its layout cannot be read.
    """
    place = place_of(path)
    attributes = root_attributes(place)
    try:
        layout = Layout.read(attributes["layout"], attributes.get("phases", {}))
        problems = layout_problems(layout, str(place.path))
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        what = message("layout", str(error), "as qloc writes it", str(place.path), _ACTION)
        raise SchemaError(what) from None
    if problems:
        raise SchemaError(problems)
    return layout


def complete(path: Path | Place) -> bool:
    """Return whether a store is complete, that is, whether it has a manifest.

    Parameters
    ----------
    path : Path or Place
        The store.

    Returns
    -------
    bool
        False where the store is still being written.

    Raises
    ------
    SchemaError
        If the store has neither a manifest nor a ledger: parts of it were removed.
    """
    place = place_of(path)
    at = place.path
    if place.size(MANIFEST) is not None:
        return True
    working = (LEDGER, UNITS)  # programs that synchronize folders leave out empty ones
    if isinstance(at, Path) and (any((at / name).is_dir() for name in working) or (at / MANIFEST).exists()):
        return False
    expected = "manifest.json (complete) or ledger/ (being written)"
    raise SchemaError(
        message("store", "without either", expected, str(at), "Take the store from its source again")
    )


def check(path: Path | Place, layout: Layout, *, whole: bool) -> None:
    """Compare dims, dtype and shape of the arrays of a store with the schema.

    Parameters
    ----------
    path : Path or Place
        The store.
    layout : Layout
        The layout that the store says it has.
    whole : bool
        Whether to check every array. In an unfinished store only those of /facts exist yet; give False.

    Raises
    ------
    SchemaError
        If arrays are missing, unreadable, or have other dims, dtypes or shapes; lists each.
    """
    variables = (*FACTS, *(layout.variables() if whole else ()))
    if problems := list(_problems(place_of(path), layout, variables)):
        raise SchemaError(problems)


def _problems(place: Place, layout: Layout, variables: tuple[Variable, ...]) -> Iterator[str]:
    arrays: dict[str, zarr.Array[Any]] = {}
    path, opened = place.path, place.zarr()
    for variable in variables:
        if place.size(f"{variable.path}/zarr.json") == -1:  # zarr would read a pipe, or follow a link
            what = f"metadata of array {variable.path}"
            yield message(what, "no ordinary file", "a file of the store", str(path), _SOURCE)
            continue
        try:
            arrays[variable.path] = array_at(opened, variable.path)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            there = place.size(f"{variable.path}/zarr.json") is not None
            got = f"unreadable ({error})" if there else "missing"
            yield message(f"array {variable.path}", got, "an array of the schema", str(path), _SOURCE)
    slots = arrays.get("signals/panel_neuron")
    n_slots = slots.shape[-1] if slots is not None and slots.ndim else 0
    for variable in variables:
        array = arrays.get(variable.path)
        if array is None or (slots is None and SLOT in variable.dims):
            continue
        expected = (variable.dims, layout.dtype(variable), layout.shape(variable, n_slots))
        actual = (_dims(array), _name(array), array.shape)
        if actual != expected:
            got = _words(*actual)
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
    return json_of(place_of(path).read("zarr.json"))
