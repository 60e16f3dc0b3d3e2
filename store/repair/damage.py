"""Damage: how a complete store differs from its manifest; what needs no facts and no model is put right.

Metadata are rebuilt from the manifest; what is no part of the store is moved out of it, never removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from qloc.canonical_json import canonical
from qloc.errors import VerificationError, message
from qloc.store.files.durable import PARTIAL, sync_folder, write_bytes
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.names import LEDGER, LOCK, MANIFEST, ROOT
from qloc.store.schema import manifest
from qloc.store.writing.finalize import remove_working

_REMOVED: Final = ".removed"


class Damage:
    """What of a store is not as its manifest says.

    Attributes
    ----------
    said : the manifest.
    objects : paths of objects that are missing, of other bytes, or no ordinary files.
    rebuilt : metadata that were put right.
    set_aside : the new paths of what is no part of the store.
    """

    def __init__(self, path: Path, said: Mapping[str, Any]) -> None:
        self.path, self.said = path, said
        self.rebuilt: list[str] = []
        self.set_aside: list[Path] = []
        folder = Folder(path)
        self.objects = [name for name, one in said["objects"].items() if not _is_sound(folder, name, one)]

    @classmethod
    def repaired(cls, path: Path, said: Mapping[str, Any]) -> Self:
        """Compare a store with its manifest, and put right what needs no facts and no model.

        Raises
        ------
        LockedError : another process writes the store.
        VerificationError : metadata are damaged that the manifest does not have.
        """
        _clear_working(path)
        made = cls(path, said)
        for name in [*manifest.objects(path)]:
            if name not in said["objects"]:
                made._take_away(name)
        made._metadata()
        return made

    def place(self, name: str, content: bytes) -> None:
        """Put an object in its place, durably."""
        target = self.path / name
        if target.is_symlink() or target.is_dir():
            self._take_away(name)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True)
            for folder in [*target.relative_to(self.path).parents][1:]:
                sync_folder(self.path / folder)
        write_bytes(target, content)

    def _take_away(self, name: str) -> None:
        """Move something out of the store, beside it; what an interrupted write left is removed."""
        if name.endswith(PARTIAL):
            (self.path / name).unlink()
            return
        beside = self.path.absolute().parent / f"{self.path.absolute().name}{_REMOVED}"
        target, n = beside / name, 0
        while target.exists() or target.is_symlink():
            n += 1
            target = beside / f"{name}.{n}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).rename(target)
        self.set_aside.append(target)

    def _metadata(self) -> None:
        """Rebuild metadata from the manifest, or from the root where an early manifest has none."""
        root = self.said.get(manifest.METADATA)
        if root is None and ROOT not in self.objects:
            root = json.loads((self.path / ROOT).read_bytes())
        problems = []
        for name in [name for name in self.objects if name.rpartition("/")[2] == ROOT]:
            content, said = _entry(root, name), self.said["objects"][name]["sha256"]
            if sha256(content).hexdigest() == said:
                self.place(name, content)
                self.rebuilt.append(name)
                self.objects.remove(name)
            else:
                rule, action = f"one with sha256 {said}", "Take this object from the store's source again"
                got = "damaged, and not in the manifest"
                problems.append(message("metadata", got, rule, str(self.path / name), action))
        if problems:
            raise VerificationError(problems)


def _clear_working(path: Path) -> None:
    """Clear up what an interrupted extraction left behind its manifest."""
    if (path / LEDGER).is_dir():
        lock = Lock.take(path / LEDGER / LOCK, path)
        remove_working(path)
        if lock is not None:
            lock.release()


def _is_sound(folder: Folder, name: str, said: Mapping[str, Any]) -> bool:
    return folder.size(name) == int(said["size"]) and folder.digest(name) == str(said["sha256"])


def _entry(root: Any, name: str) -> bytes:
    """The bytes of a node's metadata, as the consolidated metadata of the root have them."""
    if root is None or name == ROOT:
        return b"" if root is None else canonical(root)
    found: dict[str, Any] = root.get("consolidated_metadata", {}).get("metadata", {})
    entry = found.get(name.removesuffix(f"/{ROOT}"), {})
    return canonical({key: value for key, value in entry.items() if key != "consolidated_metadata"})


def manifest_of(path: Path) -> dict[str, Any]:
    """The manifest that a repair goes by.

    Raises
    ------
    VerificationError : it is not readable.
    """
    try:
        return manifest.read(path)
    except VerificationError as error:
        rule = "readable: it alone says what the other objects were, so nothing can be repaired without it"
        action = "Take manifest.json from a copy, an archive or an export of this store, or extract again"
        text = message("manifest", "damaged", rule, str(path / MANIFEST), action)
        raise VerificationError((*error.problems, text)) from None
