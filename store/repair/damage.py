"""Find how a complete store differs from its manifest, and repair what needs neither facts nor a model.

Metadata are rebuilt from the manifest. Files that are no part of the store are moved out of it, never
removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from qloc.canonical_json import canonical
from qloc.errors import VerificationError, message
from qloc.store.files.durable import PARTIAL, sync_folder, write_bytes
from qloc.store.files.lock import Lock
from qloc.store.files.place import Folder
from qloc.store.files.set_aside import set_aside
from qloc.store.names import LEDGER, LOCK, MANIFEST, ROOT
from qloc.store.schema import manifest
from qloc.store.writing.finalize import remove_working
from qloc.text.parsing import json_of


class Damage:
    """The differences between a complete store and its manifest.

    Parameters
    ----------
    path : Path
        The store.
    listed : Mapping
        Its manifest.

    Attributes
    ----------
    path : Path
        The store.
    manifest : Mapping
        The manifest of the store.
    objects : list of str
        Paths of objects that are missing, have other bytes, or are no ordinary files.
    rebuilt : list of str
        Paths of metadata that were rebuilt.
    set_aside : list of Path
        The new paths of files that are no part of the store.
    """

    def __init__(self, path: Path, listed: Mapping[str, Any]) -> None:
        self.path, self.manifest = path, listed
        self.rebuilt: list[str] = []
        self.set_aside: list[Path] = []
        folder = Folder(path)
        self.objects = [
            name for name, entry in listed["objects"].items() if not _is_sound(folder, name, entry)
        ]

    @classmethod
    def repaired(cls, path: Path, listed: Mapping[str, Any]) -> Self:
        """Compare a store with its manifest, and repair what needs neither facts nor a model.

        Parameters
        ----------
        path : Path
            The store.
        listed : Mapping
            Its manifest.

        Returns
        -------
        Damage
            The damage that is left.

        Raises
        ------
        LockedError
            If another process writes the store.
        VerificationError
            If damaged metadata are not in the manifest; names each object.
        """
        _clear_working(path)
        damage = cls(path, listed)
        for name in [*manifest.objects(path)]:
            if name not in listed["objects"]:
                damage._take_away(name)
        damage._metadata()
        return damage

    def place(self, name: str, content: bytes) -> None:
        """Put an object in its place, durably; whatever else is there is moved out of the store.

        Parameters
        ----------
        name : str
            Path of the object inside the store.
        content : bytes
            All of its bytes.
        """
        target = self.path / name
        if target.is_symlink() or target.is_dir():
            self._take_away(name)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True)
            for folder in [*target.relative_to(self.path).parents][1:]:
                sync_folder(self.path / folder)
        write_bytes(target, content)

    def _take_away(self, name: str) -> None:
        """Move a file out of the store, into a folder beside it; remove files of an interrupted write."""
        if name.endswith(PARTIAL):
            (self.path / name).unlink()
            return
        self.set_aside.append(set_aside(self.path, name))

    def _metadata(self) -> None:
        """Rebuild metadata from the manifest, or from the root where an early manifest has no metadata."""
        root = self.manifest.get(manifest.METADATA)
        if root is None and ROOT not in self.objects:
            root = json_of((self.path / ROOT).read_bytes())
        problems = []
        for name in [name for name in self.objects if name.rpartition("/")[2] == ROOT]:
            content, expected = _entry(root, name), self.manifest["objects"][name]["sha256"]
            if sha256(content).hexdigest() == expected:
                self.place(name, content)
                self.rebuilt.append(name)
                self.objects.remove(name)
            else:
                rule, action = f"one with sha256 {expected}", "Take this object from the store's source again"
                got = "damaged, and not in the manifest"
                problems.append(message("metadata", got, rule, str(self.path / name), action))
        if problems:
            raise VerificationError(problems)


def _clear_working(path: Path) -> None:
    """Remove unit files and ledger that an interrupted extraction left after writing its manifest."""
    if (path / LEDGER).is_dir():
        lock = Lock.take(path / LEDGER / LOCK, path)
        remove_working(path)
        if lock is not None:
            lock.release()


def _is_sound(folder: Folder, name: str, entry: Mapping[str, Any]) -> bool:
    return folder.size(name) == int(entry["size"]) and folder.digest(name) == str(entry["sha256"])


def _entry(root: Any, name: str) -> bytes:
    """Return the bytes of a node's metadata, as the consolidated metadata of the root have them."""
    if root is None or name == ROOT:
        return b"" if root is None else canonical(root)
    nodes: dict[str, Any] = root.get("consolidated_metadata", {}).get("metadata", {})
    entry = nodes.get(name.removesuffix(f"/{ROOT}"), {})
    return canonical({key: value for key, value in entry.items() if key != "consolidated_metadata"})


def manifest_of(path: Path) -> dict[str, Any]:
    """Return the manifest of a store that is to be repaired.

    Parameters
    ----------
    path : Path
        The store.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    VerificationError
        If the manifest is not readable: without it, nothing can be repaired.
    """
    try:
        return manifest.read(path)
    except VerificationError as error:
        rule = "readable: it alone says what the other objects were, so nothing can be repaired without it"
        action = "Take manifest.json from a copy, an archive or an export of this store, or extract again"
        text = message("manifest", "damaged", rule, str(path / MANIFEST), action)
        raise VerificationError((*error.problems, text)) from None
