"""Names inside a store: the files and folders that every layer of the store agrees on."""

from __future__ import annotations

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

APPENDING: Final = "appending"
"""Folder in a complete store that a phase is being appended from; no part of the store."""
