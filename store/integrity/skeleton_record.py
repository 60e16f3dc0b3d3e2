"""The record of a skeleton: digests of what an unfinished store has besides its units.

The manifest, which lists every object of a store, is written last. Until then ``ledger/skeleton.json`` says
what the root's metadata and the objects of /facts are. It is written with the skeleton, so that damage that
comes between two runs, or during one, is found before it is sealed. Stores that older versions began lack it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from qloc.canonical_json import canonical, digest, file_digest
from qloc.errors import VerificationError, message
from qloc.store.files.durable import write_bytes
from qloc.store.files.place import Folder, is_inside
from qloc.store.integrity.check import layout_of
from qloc.store.names import LEDGER, ROOT, SKELETON, is_object
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import FACTS
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

_OWN: Final = "sha256"
_CONSOLIDATED: Final = "consolidated_metadata"
_FACTS: Final = FACTS[0].group


@dataclass(frozen=True, kw_only=True)
class SkeletonRecord:
    """What an unfinished store has besides its units.

    Attributes
    ----------
    objects : mapping of str to mapping
        ``sha256`` and ``size`` of each object of /facts, by its path in the store.
    root : mapping
        Metadata of the root, without those of other nodes, which assembling consolidates in it.
    """

    objects: Mapping[str, Mapping[str, Any]]
    root: Mapping[str, Any]

    @classmethod
    def of(cls, hierarchy: Path) -> Self:
        """Return the record of a skeleton as it stands.

        Parameters
        ----------
        hierarchy : Path
            Folder with the root and /facts.

        Returns
        -------
        SkeletonRecord
            The record.
        """
        names = (f"{_FACTS}/{name}" for name in Folder(hierarchy / _FACTS).names())
        objects = {
            name: {"sha256": file_digest(hierarchy / name), "size": (hierarchy / name).stat().st_size}
            for name in names
            if is_object(name)
        }
        return cls(objects=objects, root=_root(hierarchy))

    @classmethod
    def read(cls, store: Path) -> Self | None:
        """Read the record of an unfinished store.

        Parameters
        ----------
        store : Path
            The store.

        Returns
        -------
        SkeletonRecord or None
            None where there is none, as in stores that older versions began, or where it is damaged.
        """
        try:
            content = json_of(read_ordinary(store / LEDGER / SKELETON, links=False))
            own = content.pop(_OWN)
            record = cls(**content)
            names = all(is_inside(name) for name in record.objects)
            known = names and all({*entry} == {"sha256", "size"} for entry in record.objects.values())
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return record if known and isinstance(record.root, dict) and own == digest(content) else None

    def write(self, store: Path) -> None:
        """Write the record durably.

        Parameters
        ----------
        store : Path
            The store, with its ledger's folder.

        Raises
        ------
        StorageError
            The disk refused.
        """
        content = {"objects": dict(self.objects), "root": dict(self.root)}
        write_bytes(store / LEDGER / SKELETON, canonical({**content, _OWN: digest(content)}))

    def damaged(self, store: Path) -> list[str]:
        """Return the objects that are not as recorded.

        Parameters
        ----------
        store : Path
            The store.

        Returns
        -------
        list of str
            Names of objects that are missing, have other bytes, or are no ordinary files.
        """
        folder = Folder(store)
        return [
            *([] if self.has_root_of(store) else [ROOT]),
            *(
                name
                for name, entry in self.objects.items()
                if folder.size(name) != entry["size"] or folder.digest(name) != entry["sha256"]
            ),
        ]

    def has_root_of(self, store: Path) -> bool:
        """Return whether the root's own metadata are as recorded, whatever is consolidated in them.

        Parameters
        ----------
        store : Path
            The store.

        Returns
        -------
        bool
            False also where they cannot be read, or are a link.
        """
        try:
            return Folder(store).size(ROOT) != -1 and _root(store) == self.root
        except (OSError, ValueError, AttributeError, RecursionError):
            return False


def _root(hierarchy: Path) -> dict[str, Any]:
    root = json.loads((hierarchy / ROOT).read_bytes())
    return {name: value for name, value in root.items() if name != _CONSOLIDATED}


def require_sound(store: Path) -> None:
    """Refuse an unfinished store in which something besides its units is damaged.

    Stores without a record, which older versions began, pass.

    Parameters
    ----------
    store : Path
        The store.

    Raises
    ------
    VerificationError
        Objects are not as they were written; names each.
    """
    record = SkeletonRecord.read(store)
    if record is not None and (names := record.damaged(store)):
        raise VerificationError(_told(store, name) for name in names)


def begun_layout(store: Path) -> Layout:
    """Return the layout of a store that is being written, once it is sure that the root is as it was.

    Parameters
    ----------
    store : Path
        The store.

    Returns
    -------
    Layout
        The layout.

    Raises
    ------
    SchemaError
        The path is no store.
    VerificationError
        The root's metadata are not as they were written.
    """
    record = SkeletonRecord.read(store)
    if record is not None and not record.has_root_of(store):
        raise VerificationError(_told(store, ROOT))
    return layout_of(store)


def _told(store: Path, name: str) -> str:
    action = "Run the qloc extract command that began the store: it writes this again from the plan"
    return message(f"object {name}", "damaged or missing", "as it was written", str(store / name), action)
