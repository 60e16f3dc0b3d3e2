"""The manifest: a list of every object of a complete store. Only a store with a valid manifest is complete.

``manifest.json`` is canonical JSON. It holds the sha256 and size of every other object, all metadata once
more (so that any object can be rebuilt), what the numbers were made with and when, the notes of units, and
at its end its own sha256, which is computed without that field.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from qloc.canonical_json import canonical, digest, file_digest
from qloc.errors import VerificationError, message
from qloc.store.files.durable import write_bytes
from qloc.store.files.place import Place, is_inside, place_at
from qloc.store.files.url import Url
from qloc.store.names import MANIFEST, ROOT, is_object
from qloc.store.schema.versions import is_newer, newer_schema
from qloc.text.parsing import json_of

_KEYS: Final = ("libraries", "notes", "objects", "run", "schema_version")
METADATA: Final = "metadata"
"""Key of the root's zarr.json, with all metadata consolidated in it; the first manifests had none."""

_OWN: Final = "sha256"
_LIBRARIES: Final = ("numpy", "zarr")
_SHA256: Final = re.compile("[0-9a-f]{64}")

MOST_OBJECT_BYTES: Final = 2**48
"""Largest size of an object that a manifest may give, in bytes."""


def objects(store: Path | Place, *, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """List every file of a store except the manifest, by its path inside the store, sorted.

    Parameters
    ----------
    store : Path or Place
        The store.
    leave_out : tuple of str
        Top-level folders that are no part of the finished store.

    Yields
    ------
    str
        The next name.
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
    known: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    """Hash every object, and write the manifest durably in one step.

    Files that no store has, such as those of file browsers, are not listed.

    Parameters
    ----------
    store : Path
        The store's folder, with every object in place.
    schema_version : int
        Version of the schema.
    run : mapping
        What the command says of itself, JSON only: versions, device, times.
    notes : mapping
        Notes of single units, by unit number.
    leave_out : tuple of str
        Top-level folders that are no part of the finished store.
    known : mapping of str to mapping
        ``sha256`` and ``size`` of objects that were listed when they were written: they are listed so again,
        whatever has become of them.

    Raises
    ------
    StorageError
        The disk refused.
    """
    listed = {
        name: {"sha256": file_digest(store / name), "size": (store / name).stat().st_size}
        for name in objects(store, leave_out=leave_out)
        if is_object(name) and name not in known
    } | {name: dict(entry) for name, entry in known.items()}
    content: dict[str, Any] = {
        "libraries": libraries(),
        METADATA: json.loads((store / ROOT).read_bytes()),
        "notes": dict(notes),
        "objects": listed,
        "run": dict(run),
        "schema_version": schema_version,
    }
    replace(store, content)


def replace(store: Path, content: Mapping[str, Any]) -> None:
    """Write a manifest with given content and its own sha256, durably and in one step.

    Parameters
    ----------
    store : Path
        The store's folder.
    content : mapping
        Everything but the manifest's own sha256.

    Raises
    ------
    StorageError
        The disk refused; the old manifest is unchanged.
    """
    write_bytes(store / MANIFEST, _sealed(content))


def _sealed(content: Mapping[str, Any]) -> bytes:
    return canonical({**content, _OWN: _digest(content)})


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that write arrays.

    Returns
    -------
    dict of str to str
        Versions by name.
    """
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def appended(
    store: Path, added: Path, phase: str, *, run: Mapping[str, Any], notes: Mapping[str, Any]
) -> bytes:
    """Return the manifest of a complete store after objects of a phase are added or replace its own.

    What the manifest says of the other objects stays as it is, and these objects are not read: a bit that has
    flipped since is still detected.

    Parameters
    ----------
    store : Path
        The complete store.
    added : Path
        Folder with the objects of the phase.
    phase : str
        Name of the phase.
    run : mapping
        What the command says of itself; kept with the library versions under ``phases`` of the store's
        ``run``.
    notes : mapping
        Notes of the phase's units, by unit number; kept as ``PHASE/NUMBER``.

    Returns
    -------
    bytes
        The new manifest, to be written.

    Raises
    ------
    VerificationError
        The store has no valid manifest.
    """
    before = read(store)
    listed = {
        name: {"sha256": file_digest(added / name), "size": (added / name).stat().st_size}
        for name in objects(added)
        if is_object(name)
    }
    phases = {**before["run"].get("phases", {}), phase: {**run, "libraries": libraries()}}
    content = {
        **{key: before[key] for key in _KEYS},
        METADATA: json.loads((added / ROOT).read_bytes()),
        "notes": {**before["notes"], **{f"{phase}/{number}": note for number, note in notes.items()}},
        "objects": {**before["objects"], **listed},
        "run": {**before["run"], "phases": phases},
    }
    return _sealed(content)


def read(store: Path | Place) -> dict[str, Any]:
    """Read the manifest of a complete store.

    Parameters
    ----------
    store : Path or Place
        The store.

    Returns
    -------
    dict of str to Any
        Its content, with its own sha256.

    Raises
    ------
    SchemaError
        It is of a newer schema.
    VerificationError
        It is missing, or not the canonical bytes of a manifest with its own sha256.
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


def sealed_root(store: Path) -> dict[str, Any]:
    """Return the root's metadata of a complete store as its manifest has them, whatever became of the file.

    Parameters
    ----------
    store : Path
        The store's folder.

    Returns
    -------
    dict of str to Any
        The root's zarr.json, with all metadata consolidated in it.

    Raises
    ------
    VerificationError
        The manifest is not valid, or is an early one, without metadata, and the file has other bytes than it
        lists.
    """
    content = read(store)
    if METADATA in content:
        return dict(content[METADATA])
    raw, expected = (store / ROOT).read_bytes(), content["objects"][ROOT]["sha256"]
    if (made := hashlib.sha256(raw).hexdigest()) != expected:
        raise VerificationError(_broken("sha256 of zarr.json", made, expected, store / ROOT))
    return dict(json.loads(raw))


def parsed(raw: bytes, path: Path | Url) -> dict[str, Any]:
    """Parse the bytes of a manifest.

    Parameters
    ----------
    raw : bytes
        The content of ``manifest.json``.
    path : Path or Url
        Where the bytes were read, for messages.

    Returns
    -------
    dict of str to Any
        The content, with its own sha256.

    Raises
    ------
    SchemaError
        The manifest is of a newer schema.
    VerificationError
        The bytes are not the canonical bytes of a manifest with its own sha256, or its list of objects has
        entries that no store has.
    """
    try:
        content = json_of(raw)
        canonical_bytes = canonical(content)
    except ValueError as error:
        raise VerificationError(_broken("manifest", type(error).__name__, "canonical JSON", path)) from None
    if canonical_bytes != raw:
        got = f"{len(raw)} bytes with sha256 {hashlib.sha256(raw).hexdigest()}"
        raise VerificationError(_broken("manifest", got, "canonical JSON", path))
    _refuse_newer(content, path)
    if not _is_manifest(content):
        got = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise VerificationError(_broken("manifest", got, f"the keys {', '.join((*_KEYS, _OWN))}", path))
    own = _digest(content)
    if own != content[_OWN]:
        raise VerificationError(
            _broken("sha256 of the manifest", own, f"{content[_OWN]}, as it says itself", path)
        )
    if problems := list(_object_problems(content["objects"], path)):
        raise VerificationError(problems)
    return dict(content)


def _refuse_newer(content: Any, path: Path | Url) -> None:
    """Refuse what a later version wrote, whatever else is in it; a damaged number counts as no version."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if is_newer(version) and content.get(_OWN) == _digest(content):
        run = content.get("run")
        raise newer_schema(version, path.parent, run.get("qloc") if isinstance(run, dict) else None)


def _is_manifest(content: Any) -> bool:
    if not isinstance(content, dict) or set(content) - {METADATA} != {*_KEYS, _OWN}:
        return False
    return all(isinstance(content.get(name, {}), dict) for name in ("libraries", METADATA, "notes", "run"))


def _digest(content: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in content.items() if key != _OWN})


def _object_problems(listed: Any, path: Path | Url) -> Iterator[str]:
    """Yield what is wrong with the list of objects: no name may be used as a path before this check."""
    at, action = str(path), "Do not use this store; take it from its source again"
    if not isinstance(listed, dict):
        yield message(
            "objects of the manifest", type(listed).__name__, "an object's size by name", at, action
        )
        return
    folders = {"/".join(name.split("/")[:n]) for name in listed for n in range(1, name.count("/") + 1)}
    for name, entry in listed.items():
        if not is_inside(name) or name == MANIFEST:
            yield message("name of an object", name, "a path inside the store", at, action)
        elif name in folders:
            yield message(f"object {name!r}", "a file and a folder", "one of them", at, action)
        if not _is_entry(entry):
            rule = f"its sha256 in hex, and its size, at most {MOST_OBJECT_BYTES} bytes"
            yield message(f"object {name!r}", entry, rule, at, action)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"sha256", "size"}:
        return False
    size, sha256 = entry["size"], entry["sha256"]
    return (
        type(size) is int
        and 0 <= size <= MOST_OBJECT_BYTES
        and isinstance(sha256, str)
        and _SHA256.fullmatch(sha256) is not None
    )


def _broken(what: str, got: object, expected: str, path: Path | Url) -> str:
    return message(what, got, expected, str(path), "Take the store from its source again")
