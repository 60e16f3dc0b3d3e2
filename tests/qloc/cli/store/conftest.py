"""The store that tests of ``qloc store`` look at, made once; no test may change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qloc.simulation.simulate import simulate


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "p.zarr"
    simulate(path, facts=12, relations=2, templates=3)
    return path
