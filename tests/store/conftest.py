"""Fixtures of the store's tests: made-up studies, and a complete store to copy."""

import shutil
from pathlib import Path

import pytest
import synthetic
import synthetic_phase


@pytest.fixture(scope="session")
def study():
    return synthetic.Synthetic()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, study):
    """Return a complete store that no test may change."""
    return synthetic.write_store(tmp_path_factory.mktemp("finished") / "s.zarr", study)


@pytest.fixture(scope="session")
def phased(tmp_path_factory, finished):
    """Return a complete store with both further phases, that no test may change."""
    store = Path(shutil.copytree(finished, tmp_path_factory.mktemp("phased") / "s.zarr"))
    for phase in ("interventions", "edits"):
        synthetic_phase.append(store, phase)
    return store


@pytest.fixture
def copy(finished, tmp_path):
    """Return a complete store of the test's own."""
    return Path(shutil.copytree(finished, tmp_path / "s.zarr"))
