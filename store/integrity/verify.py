"""Verify a complete store against its manifest, object by object.

The manifest has the sha256 of every other object, so that every flipped bit and every missing, extra,
truncated or swapped object is found. Each problem says in words what the object holds (array, rows, units).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from qloc.errors import SchemaError, VerificationError, message
from qloc.store.files.parallel import each
from qloc.store.files.place import Folder, Place
from qloc.store.files.url import Url
from qloc.store.integrity import check, expansion
from qloc.store.integrity.object_contents import Contents
from qloc.store.names import LEDGER, MANIFEST, ROOT, UNITS
from qloc.store.places.open_place import place_of
from qloc.store.schema import manifest, metadata

ListedObjects = Mapping[str, Mapping[str, Any]]
"""The objects of a manifest: ``sha256`` and ``size`` of each, by its path."""

_REPAIR = "Run qloc store repair on the store"
_SOURCE = "Take the archive from its source again"


def verify(path: str | Path | Place) -> list[str]:
    """Return every way in which a store differs from its manifest.

    Parameters
    ----------
    path : str, Path or Place
        A complete store, packed or not. For an unfinished store the only problem is the missing manifest.

    Returns
    -------
    list of str
        One message for each problem; empty where the store is sound.

    Raises
    ------
    SchemaError
        If the path is not a qloc store, or the store has a newer schema.
    """
    place = place_of(path)
    if place.size(MANIFEST) is None:
        check.root_attributes(place)
    try:
        listed = manifest.read(place)["objects"]
    except VerificationError as error:
        return list(error.problems)
    problems = list(_problems(place, listed)) or metadata.problems(place)
    problems = problems or expansion.problems(place, sizes_of(listed))
    if not problems:
        try:
            check.check(place, check.layout_of(place), whole=True)
        except SchemaError as error:
            problems += error.problems
    return problems


def sizes_of(listed: ListedObjects) -> dict[str, int]:
    """Return the size of every object that a manifest lists.

    Parameters
    ----------
    listed : mapping of str to mapping
        The objects of the manifest.

    Returns
    -------
    dict of str to int
        Bytes, by the object's path.
    """
    return {name: int(entry["size"]) for name, entry in listed.items()}


def require_present(path: Path | Place) -> None:
    """Check that every object of the manifest exists and has its size, and that metadata are as listed.

    Of the objects, only metadata are read: they say what all other bytes mean. Where they are read from those
    consolidated in the root, that is the only one.

    Parameters
    ----------
    path : Path or Place
        A complete store.

    Raises
    ------
    VerificationError
        If objects are missing or have other sizes, metadata have other bytes (lists each), or the manifest is
        broken.
    """
    place = place_of(path)
    listed = manifest.read(place)["objects"]
    states = {name: _state(place.size(name)) for name in listed}
    wrong = {
        name: (state, _bytes(listed[name]["size"]))
        for name, state in states.items()
        if state != _bytes(listed[name]["size"])
    }
    nodes = (ROOT,) if place.consolidated else [name for name in listed if name.rpartition("/")[2] == ROOT]
    for name in nodes:
        if name in listed and name not in wrong:
            made, expected = sha256(place.read(name)).hexdigest(), listed[name]["sha256"]
            if made != expected:
                wrong[name] = (f"sha256 {made}", f"sha256 {expected}")
    if wrong:
        contents = Contents(place)
        raise VerificationError(
            message(contents.words(name), got, expected, str(place.path / name), _action(place))
            for name, (got, expected) in wrong.items()
        )


def _problems(place: Place, listed: ListedObjects, names: Iterable[str] | None = None) -> Iterator[str]:
    """Compare objects with the manifest; all that are there or should be, unless ``names`` are given."""
    contents = Contents(place)

    def problem(name: str) -> str | None:
        if name not in listed:
            return _extra(place.path, name)
        expected, got = _bytes(listed[name]["size"]), _state(place.size(name))
        if got == expected:
            expected, got = f"sha256 {listed[name]['sha256']}", f"sha256 {place.digest(name)}"
        if got == expected:
            return None
        return message(contents.words(name), got, expected, str(place.path / name), _action(place))

    names = sorted({*listed, *manifest.objects(place)}) if names is None else names
    yield from filter(None, each(problem, names, place.at_once))


def object_problems(place: Place, names: Iterable[str]) -> list[str]:
    """Return every way in which some objects of a store differ from its manifest.

    Parameters
    ----------
    place : Place
        A complete store.
    names : iterable of str
        Paths of objects inside the store; those that the manifest does not list are left out.

    Returns
    -------
    list of str
        One message for each object that differs.

    Raises
    ------
    SchemaError, VerificationError
        The manifest cannot be read.
    """
    listed = manifest.read(place)["objects"]
    return [*_problems(place, listed, [name for name in names if name in listed])]


def _action(place: Place) -> str:
    return _REPAIR if isinstance(place, Folder) else _SOURCE


def _bytes(size: object) -> str:
    return f"{size} bytes"


def _state(size: int | None) -> str:
    if size is None:
        return "missing"
    return _bytes(size) if size >= 0 else "no ordinary file"


def _extra(path: Path | Url, name: str) -> str:
    if name.split("/")[0] in (UNITS, LEDGER):
        action = "Run the extraction once more, which removes what it has left, or remove it"
    else:
        action = "Remove it: it is no part of the store"
    return message("object", "extra", "only objects of the manifest", str(path / name), action)
