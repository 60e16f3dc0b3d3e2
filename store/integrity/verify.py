"""Whether a complete store still is what its manifest says, object by object.

The manifest has the sha256 of every other object, so that any flipped bit, missing, extra, truncated or
swapped object is found; what an object holds (array, rows, units) is said in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qloc.errors import SchemaError, VerificationError, message
from qloc.store.files.parallel import each
from qloc.store.files.place import Folder, Place
from qloc.store.files.url import Url
from qloc.store.integrity import check
from qloc.store.integrity.object_contents import Contents
from qloc.store.names import LEDGER, MANIFEST, UNITS
from qloc.store.places.open_place import place_of
from qloc.store.schema import manifest, metadata

_REPAIR = "Run qloc store repair on the store"
_SOURCE = "Take the archive from its source again"


def verify(path: str | Path | Place) -> list[str]:
    """Every way in which a store is not what its manifest says; empty where there is none.

    Parameters
    ----------
    path : a complete store, packed or not; of an unfinished one it is said that it is.

    Raises
    ------
    SchemaError : the path is not a qloc store at all, or one of a newer schema.
    """
    place = place_of(path)
    if place.size(MANIFEST) is None:
        check.root_attributes(place)
    try:
        said = manifest.read(place)
    except VerificationError as error:
        return list(error.problems)
    problems = list(_problems(place, said["objects"])) or metadata.problems(place)
    if not problems:
        try:
            layout = check.layout_of(place)
            problems += metadata.layout_problems(layout, str(place.path))
            check.check(place, layout, whole=True)
        except SchemaError as error:
            problems += error.problems
    return problems


def require_present(path: Path | Place) -> None:
    """Look, without reading them, whether all objects are there at their size.

    Raises
    ------
    VerificationError : some are not, each named; or the manifest is broken.
    """
    place = place_of(path)
    said = manifest.read(place)["objects"]
    states = {name: _state(place.size(name)) for name in said}
    if wrong := [name for name, state in states.items() if state != _bytes(said[name]["size"])]:
        contents = Contents(place)
        raise VerificationError(
            message(
                contents.words(name),
                states[name],
                _bytes(said[name]["size"]),
                str(place.path / name),
                _action(place),
            )
            for name in wrong
        )


def _problems(place: Place, said: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    contents = Contents(place)

    def problem(name: str) -> str | None:
        if name not in said:
            return _extra(place.path, name)
        expected, got = _bytes(said[name]["size"]), _state(place.size(name))
        if got == expected:
            expected, got = f"sha256 {said[name]['sha256']}", f"sha256 {place.digest(name)}"
        if got == expected:
            return None
        return message(contents.words(name), got, expected, str(place.path / name), _action(place))

    names = sorted({*said, *manifest.objects(place)})
    yield from filter(None, each(problem, names, place.at_once))


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
