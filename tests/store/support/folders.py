"""What is in a folder, to compare stores byte by byte."""

from __future__ import annotations

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder by its relative path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def listing(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
