"""Stores that tests of commands look at, made once; no test may change them."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import done

from qloc.simulation.simulate import simulate


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted.zarr"
    done("simulate", "--facts", 60, "--relations", 3, "--templates", 5, "--out", path)
    return path


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    for name, strength in (("early", 0.1), ("late", 0.5)):
        simulate(folder / f"{name}.zarr", facts=30, relations=3, templates=4, fact_strength=strength, seed=1)
    return folder / "early.zarr", folder / "late.zarr"


@pytest.fixture(scope="session")
def embedded() -> None:
    """Skip where the embedded models or the extraction are not there."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")
