"""Fixtures of the store's tests: made-up studies, complete stores to read or copy, and servers of them."""

import shutil
from pathlib import Path

import pytest
import servers
import synthetic
import synthetic_phase

from qloc.store.exchange.pack import pack


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


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Return a complete store of few rows, that no test may change: the S3 server is slow."""
    study = synthetic.Synthetic(n_facts=3, n_layers=2, n_neurons=8, methods=("ig",))
    return synthetic.write_store(tmp_path_factory.mktemp("small") / "small.zarr", study)


@pytest.fixture(scope="session")
def shelf(small, tmp_path_factory):
    """Return a folder with a store and its archive, to be served; no test may change it."""
    folder = tmp_path_factory.mktemp("shelf")
    pack(shutil.copytree(small, folder / "s.zarr"))
    return folder


@pytest.fixture
def site(shelf):
    """Return a server of the shelf."""
    with servers.http_server(shelf) as server:
        yield server


@pytest.fixture(scope="session")
def endpoint():
    with servers.s3_server() as url:
        yield url


@pytest.fixture
def s3(endpoint, monkeypatch):
    """Let clients find the S3 server, which has the bucket `bucket`."""
    for name, value in servers.environment(endpoint).items():
        monkeypatch.setenv(name, value)
