"""The manifest: what a complete store is made of. Only a store with a valid manifest is complete.

``manifest.json`` is canonical JSON: the sha256 and size of every other object, all metadata once more (so
that any can be rebuilt), what the numbers were made with and when, the notes of units, and at its end its own
sha256, taken without that field.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from qloc.canonical_json import canonical, digest, file_digest
from qloc.errors import VerificationError, message
from qloc.store.files.durable import write_bytes
from qloc.store.files.place import Place, is_inside, place_at
from qloc.store.files.url import Url
from qloc.store.names import MANIFEST, ROOT
from qloc.store.schema.versions import refuse_newer

_KEYS: Final = ("libraries", "notes", "objects", "run", "schema_version")
METADATA: Final = "metadata"
"""The root's zarr.json with the consolidated metadata; the first manifests had none."""

_OWN: Final = "sha256"
_LIBRARIES: Final = ("numpy", "zarr")
_SHA256: Final = re.compile("[0-9a-f]{64}")

MOST_BYTES: Final = 2**48
"""Of an object."""


def objects(store: Path | Place, *, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """Every file of a store but the manifest, by its path inside, sorted.

    Parameters
    ----------
    leave_out : names of folders at the top that are no part of the finished store.
    """
    for name in place_at(store).names():
        top, _, inside = name.partition("/")
        if name != MANIFEST and not (inside and top in leave_out):
            yield name


def write(
    store: Path,
    *,
    schema_version: int,
    run: Mapping[str, Any],
    notes: Mapping[str, Any],
    leave_out: tuple[str, ...],
) -> None:
    """Hash every object and write the manifest, durably and at once.

    Parameters
    ----------
    run : what the command says of itself, JSON only: versions, device, times.
    notes : what is to be known of single units, by their number.

    Raises
    ------
    StorageError : the disk refused.
    """
    found = {
        name: {"sha256": file_digest(store / name), "size": (store / name).stat().st_size}
        for name in objects(store, leave_out=leave_out)
    }
    content: dict[str, Any] = {
        "libraries": libraries(),
        METADATA: json.loads((store / ROOT).read_bytes()),
        "notes": dict(notes),
        "objects": found,
        "run": dict(run),
        "schema_version": schema_version,
    }
    replace(store, content)


def replace(store: Path, content: Mapping[str, Any]) -> None:
    """Write a manifest of this content, durably and at once, with its own sha256.

    Raises
    ------
    StorageError : the disk refused; the one there was still is.
    """
    write_bytes(store / MANIFEST, _sealed(content))


def _sealed(content: Mapping[str, Any]) -> bytes:
    return canonical({**content, _OWN: _digest(content)})


def libraries() -> dict[str, str]:
    """Versions of what writes arrays."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def appended(
    store: Path, added: Path, phase: str, *, run: Mapping[str, Any], notes: Mapping[str, Any]
) -> bytes:
    """The manifest of a complete store once the objects in ``added`` are in it too, or in place of its own.

    What the manifest says of the other objects stays as it is, unread: a bit that was flipped since is still
    told.

    Parameters
    ----------
    run : what the command says of itself; kept with the library versions under ``phases`` of the store's.
    notes : of the phase's units, by their number; kept as ``PHASE/NUMBER``.

    Raises
    ------
    VerificationError : the store has no valid manifest.
    """
    said = read(store)
    found = {
        name: {"sha256": file_digest(added / name), "size": (added / name).stat().st_size}
        for name in objects(added)
    }
    phases = {**said["run"].get("phases", {}), phase: {**run, "libraries": libraries()}}
    content = {
        **{key: said[key] for key in _KEYS},
        METADATA: json.loads((added / ROOT).read_bytes()),
        "notes": {**said["notes"], **{f"{phase}/{number}": note for number, note in notes.items()}},
        "objects": {**said["objects"], **found},
        "run": {**said["run"], "phases": phases},
    }
    return _sealed(content)


def read(store: Path | Place) -> dict[str, Any]:
    """The manifest of a complete store.

    Raises
    ------
    SchemaError : it is of a newer schema.
    VerificationError : it is missing, or not the canonical bytes of a manifest with its own sha256.
    """
    place = place_at(store)
    path = place.path / MANIFEST
    try:
        raw = place.read(MANIFEST)
    except OSError as error:
        expected = "a readable file, the last that an extraction writes"
        action = "Run the extraction again to complete the store"
        raise VerificationError(message("manifest", error.strerror, expected, str(path), action)) from None
    return parsed(raw, path)


def parsed(raw: bytes, path: Path | Url) -> dict[str, Any]:
    """The manifest that bytes are.

    Parameters
    ----------
    path : where they were found, for the error.

    Raises
    ------
    SchemaError : they are of a newer schema.
    VerificationError : they are not the canonical bytes of a manifest with its own sha256.
    """
    try:
        found = json.loads(raw)
        canonical_bytes = canonical(found)
    except ValueError as error:
        raise VerificationError(_broken("manifest", type(error).__name__, "canonical JSON", path)) from None
    if canonical_bytes != raw:
        got = f"{len(raw)} bytes with sha256 {hashlib.sha256(raw).hexdigest()}"
        raise VerificationError(_broken("manifest", got, "canonical JSON", path))
    _refuse_newer(found, path)
    if not _is_manifest(found):
        got = ", ".join(found) if isinstance(found, dict) else type(found).__name__
        raise VerificationError(_broken("manifest", got, f"the keys {', '.join((*_KEYS, _OWN))}", path))
    own = _digest(found)
    if own != found[_OWN]:
        raise VerificationError(
            _broken("sha256 of the manifest", own, f"{found[_OWN]}, as it says itself", path)
        )
    if problems := list(_listed(found["objects"], path)):
        raise VerificationError(problems)
    return dict(found)


def _refuse_newer(found: Any, path: Path | Url) -> None:
    """Refuse what a later version wrote, whatever else is in it; a damaged number is no version."""
    if isinstance(found, dict) and found.get(_OWN) == _digest(found):
        run = found.get("run")
        writer = run.get("qloc") if isinstance(run, dict) else None
        refuse_newer(found.get("schema_version"), path.parent, writer)


def _is_manifest(found: Any) -> bool:
    if not isinstance(found, dict) or set(found) - {METADATA} != {*_KEYS, _OWN}:
        return False
    return isinstance(found.get(METADATA, {}), dict)


def _digest(content: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in content.items() if key != _OWN})


def _listed(found: Any, path: Path | Url) -> Iterator[str]:
    """What the list of objects says that no store's would: nothing of it may be used as a path before."""
    at, action = str(path), "Do not use this store; take it from its source again"
    if not isinstance(found, dict):
        yield message("objects of the manifest", type(found).__name__, "an object's size by name", at, action)
        return
    folders = {"/".join(name.split("/")[:n]) for name in found for n in range(1, name.count("/") + 1)}
    for name, said in found.items():
        if not is_inside(name) or name == MANIFEST:
            yield message("name of an object", name, "a path inside the store", at, action)
        elif name in folders:
            yield message(f"object {name!r}", "a file and a folder", "one of them", at, action)
        if not _is_entry(said):
            rule = f"its sha256 in hex, and its size, at most {MOST_BYTES} bytes"
            yield message(f"object {name!r}", said, rule, at, action)


def _is_entry(said: Any) -> bool:
    if not isinstance(said, dict) or set(said) != {"sha256", "size"}:
        return False
    size, made = said["size"], said["sha256"]
    return (
        type(size) is int
        and 0 <= size <= MOST_BYTES
        and isinstance(made, str)
        and _SHA256.fullmatch(made) is not None
    )


def _broken(what: str, got: object, expected: str, path: Path | Url) -> str:
    return message(what, got, expected, str(path), "Take the store from its source again")
