"""Whether a complete store still is what its manifest says, object by object.

The manifest has the sha256 of every other object, so that any flipped bit, missing, extra, truncated or
swapped object is found; what an object holds (array, rows, units) is said in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qloc.errors import SchemaError, VerificationError, message
from qloc.store import check, ledger, manifest, metadata
from qloc.store.card import CARD
from qloc.store.layout import Layout
from qloc.store.place import Place, place_of
from qloc.store.schema import Variable
from qloc.store.url import Url
from qloc.vocabulary import FACT

_ACTION = "Take this object from the store's source again, or extract again"


def verify(path: str | Path | Place) -> list[str]:
    """Every way in which a store is not what its manifest says; empty where there is none.

    Parameters
    ----------
    path : a complete store, packed or not; of an unfinished one it is said that it is.

    Raises
    ------
    SchemaError : the path is not a qloc store at all.
    """
    place = place_of(path)
    if place.size(manifest.MANIFEST) is None:
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
        places = _Places(place)
        raise VerificationError(
            message(
                places.of(name), states[name], _bytes(said[name]["size"]), str(place.path / name), _ACTION
            )
            for name in wrong
        )


def _problems(place: Place, said: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    places = _Places(place)
    for name in sorted({*said, *manifest.objects(place)}):
        where = str(place.path / name)
        if name not in said:
            yield _extra(place.path, name)
            continue
        expected, got = _bytes(said[name]["size"]), _state(place.size(name))
        if got == expected:
            expected, got = f"sha256 {said[name]['sha256']}", f"sha256 {place.digest(name)}"
        if got != expected:
            yield message(places.of(name), got, expected, where, _ACTION)


def _bytes(size: object) -> str:
    return f"{size} bytes"


def _state(size: int | None) -> str:
    if size is None:
        return "missing"
    return _bytes(size) if size >= 0 else "no ordinary file"


def _extra(path: Path | Url, name: str) -> str:
    if name.split("/")[0] in (ledger.UNITS, ledger.LEDGER):
        action = "Run the extraction once more, which removes what it has left, or remove it"
    else:
        action = "Remove it: it is no part of the store"
    return message("object", "extra", "only objects of the manifest", str(path / name), action)


class _Places:
    """What an object holds, in words, as far as the metadata can still be read."""

    def __init__(self, place: Place) -> None:
        self.place = place
        try:
            self.layout: Layout | None = check.layout_of(place)
        except SchemaError:
            self.layout = None

    def of(self, name: str) -> str:
        """Such as ``array signals/attribution, queries 4096 to 8191 (units 12 to 25)``."""
        array, _, chunk = name.partition("/c/")
        if name == CARD:
            return "the card"
        if not chunk:
            return f"metadata of {name.removesuffix('zarr.json').strip('/') or 'the root'}"
        rows = self._rows(array, chunk)
        return f"array {array}" + (f", {rows}" if rows else "")

    def _rows(self, array: str, chunk: str) -> str | None:
        variable = self._variable(array)
        if self.layout is None or variable is None or variable.row is None:
            return None
        try:
            grid = json.loads(self.place.read(f"{array}/zarr.json"))["chunk_grid"]
            step = int(grid["configuration"]["chunk_shape"][variable.row])
            first = int(chunk.split("/")[variable.row]) * step
        except (OSError, ValueError, LookupError, TypeError):
            return None
        of_facts = variable.dims[variable.row] == FACT
        ends = [
            (u.first_fact, u.last_fact) if of_facts else (u.first_query, u.last_query)
            for u in self.layout.units
        ]
        last = min(first + step, max((end for _, end in ends), default=0))
        units = [n for n, (a, b) in enumerate(ends) if a < last and b > first]
        noun = "facts" if of_facts else "queries"
        held = f" (units {units[0]} to {units[-1]})" if units else ""
        return f"{noun} {first} to {last - 1}{held}"

    def _variable(self, array: str) -> Variable | None:
        variables = self.layout.variables() if self.layout else ()
        return next((variable for variable in variables if variable.path == array), None)
