"""Names inside a store: the files and folders that every layer of the store agrees on."""

from __future__ import annotations

import re
from typing import Final

ROOT: Final = "zarr.json"
"""Metadata of a Zarr node; at the top, those of the root group, with all others consolidated in it."""

MANIFEST: Final = "manifest.json"
"""The manifest of a complete store, written last."""

CARD: Final = "README.md"
"""The description of a complete store for people who find it without qloc."""

UNITS: Final = "units"
"""Folder of unit files, in a store or phase that is being written."""

LEDGER: Final = "ledger"
"""Folder of the records of units that count, in a store or phase that is being written."""

LOCK: Final = "lock"
"""File that a writing process holds locked: in the ledger's folder of a store, or in APPENDING."""

SKELETON: Final = "skeleton.json"
"""Record, in the ledger's folder, of what a store that is being written has besides its units."""

SHARD: Final = "shard.json"
"""Record, in the ledger's folder, of the part of a plan's units that a store is for."""

APPENDING: Final = "appending"
"""Folder in a complete store that a phase is being appended from; no part of the store."""

_OBJECT: Final = re.compile(r"(.+/)?zarr\.json|.+/c(/\d+)*")
_PIECE: Final = re.compile(r"(.+)/c/(\d+(?:/\d+)*)")


def is_object(name: str) -> bool:
    """Return whether a name is that of an object of a Zarr hierarchy, or of the card.

    What file browsers and synchronization leave in folders, such as ``.DS_Store``, is not.

    Parameters
    ----------
    name : str
        A path inside the store.

    Returns
    -------
    bool
        Whether it names metadata, a chunk or the card.

    Examples
    --------
    >>> [is_object(name) for name in ("zarr.json", "README.md", "facts/id/c/0", "facts/.DS_Store", "c/0")]
    [True, True, True, False, False]
    """
    return name == CARD or _OBJECT.fullmatch(name) is not None


def piece_of(name: str) -> tuple[str, str]:
    """Part the name of a piece of an array into the array's own and the place of the piece in its grid.

    Parameters
    ----------
    name : str
        Path of an object inside a store.

    Returns
    -------
    tuple of str
        The array and the numbers of the piece. The second is empty where the object is none, such as
        metadata: the first is then the name itself.

    Examples
    --------
    An array may be called ``c`` itself, such as a column of facts:

    >>> piece_of("facts/c/c/0"), piece_of("facts/c/zarr.json")
    (('facts/c', '0'), ('facts/c/zarr.json', ''))
    """
    match = _PIECE.fullmatch(name)
    return (name, "") if match is None else (match[1], match[2])
