"""Names inside a store: the files and folders that every layer of the room agrees on."""

from __future__ import annotations

from typing import Final

APPENDING: Final = "appending"
"""Folder in a complete store that a phase is being appended to; no part of the store."""


ROOT: Final = "zarr.json"


MANIFEST: Final = "manifest.json"


CARD: Final = "README.md"


UNITS: Final = "units"


LEDGER: Final = "ledger"


LOCK: Final = "lock"
