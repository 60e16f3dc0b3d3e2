"""A store at a URL is read in place, with few requests, and each object is compared with the manifest."""

import pickle

import numpy as np
import pytest
import servers
from folders import contents
from synthetic import Synthetic, write_store

from qloc.errors import RemoteError
from qloc.store.integrity.verify import verify
from qloc.store.places import object_store
from qloc.store.reading.info import info
from qloc.store.reading.open_store import open_store


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """Return a complete store with shards of several chunks."""
    made = Synthetic(n_facts=24, unit_facts=12, n_layers=6, n_neurons=400)
    return write_store(tmp_path_factory.mktemp("larger") / "larger.zarr", made)


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
@pytest.mark.parametrize("ranges", [True, False])
def test_read_in_place_over_http(shelf, name, ranges):
    with servers.http_server(shelf, ranges=ranges) as site:
        url = f"{site.url}/{name}"
        there, here = open_store(url), open_store(shelf / name)
        assert (there.complete, str(there.path)) == (True, url)
        for group in ("queries", "signals"):
            assert getattr(there, group).load().identical(getattr(here, group).load()), group
        if ranges:
            assert verify(url) == []
            assert info(url) | {"path": ""} == info(shelf / name) | {"path": ""}


def test_one_fact_takes_few_requests(larger):
    with servers.http_server(larger.parent) as site:
        study = open_store(f"{site.url}/{larger.name}")
        # manifest, root, and the four coordinates that are indexes: of more than 90 objects.
        assert len(site.asked) == 6
        assert len(contents(larger)) > 90
        here = open_store(larger)
        site.asked.clear()
        rows = np.flatnonzero(here.queries["fact"].to_numpy() == 5)
        one = study.signals["attribution"].variable.isel(query=slice(rows[0], rows[-1] + 1)).load()
        assert one.identical(
            here.signals["attribution"].variable.isel(query=slice(rows[0], rows[-1] + 1)).load()
        )
        assert {path for path, _ in site.asked} == {f"/{larger.name}/signals/attribution/c/0/0/0",
                                                     f"/{larger.name}/signals/attribution/c/1/0/0"}  # fmt: skip
        assert len(site.asked) <= 8


def test_what_reads_a_url_can_be_pickled(site):
    study = open_store(f"{site.url}/s.zarr.zip")
    before = len(site.asked)
    again = pickle.loads(pickle.dumps(study.signals))
    assert len(site.asked) == before
    assert again.load().identical(study.signals.load())


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_verifying_reads_some_objects_at_a_time(shelf, name):
    with servers.http_server(shelf) as site:
        url = f"{site.url}/{name}"
        site.pause = 0.02  # longer than a thread takes to ask for the next
        assert verify(url) == []
        assert 2 < site.most <= 8
        if name == "s.zarr":
            pieces = [path for path in (shelf / name).rglob("c/0") if path.is_file()]
            wrong = sorted(path.relative_to(shelf / name).as_posix() for path in pieces)
            for path in wrong:
                site.contents[f"/{name}/{path}"] = bytes((shelf / name / path).stat().st_size)
            told = verify(url)  # in the order of their names
            assert [problem.partition(" At ")[2].partition(". Take")[0] for problem in told] == [
                f"{url}/{path}" for path in wrong
            ]
        site.asked.clear()
        site.dies_after = 20
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(object_store._RETRY, "max_retries", 0)
            with pytest.raises(RemoteError, match="run the same command again"):
                verify(url)
