"""Files of facts, and the problems that a reader finds in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qloc.errors import InputError
from qloc.extract.datasets import read_facts


@pytest.fixture(scope="session")
def write_lines() -> Callable[..., Path]:
    """Write entries as JSON lines; a text is written as it is."""

    def write(path: Path, *entries: object) -> Path:
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def problems_of() -> Callable[..., list[str]]:
    """Read a source that is broken, and return every message."""

    def problems(source: object, **selection: Any) -> list[str]:
        with pytest.raises(InputError) as caught:
            read_facts(str(source), **selection)
        assert caught.value.exit_code == 2
        return list(caught.value.problems)

    return problems


@pytest.fixture(scope="session")
def published() -> Path:
    """Return the folder with ParaRel and BLiMP as published, beside the clone."""
    folder = Path(__file__).parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ParaRel and BLiMP at ../shared/data")
    return folder
