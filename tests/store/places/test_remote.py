"""A store at a URL is read in place, with few requests, and each object is compared with the manifest."""

import hashlib
import pickle
import shutil

import numpy as np
import pytest
import servers
from folders import contents
from synthetic import Synthetic, write_store

from qloc.errors import RemoteError, SchemaError, VerificationError
from qloc.store.files.url import Url
from qloc.store.integrity.verify import verify
from qloc.store.places import object_store, remote
from qloc.store.places.open_place import connect
from qloc.store.places.remote import Remote, RemoteArchive
from qloc.store.reading.info import info
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest


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
        # Manifest, root, the four coordinates that are indexes, and the three columns by which facts and queries
        # index each other: of more than 90 objects.
        assert len(site.asked) == 9, sorted(path for path, _ in site.asked)
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


@pytest.fixture
def folder(shelf, tmp_path):
    """Return a folder with a store and its archive of the test's own."""
    return shutil.copytree(shelf, tmp_path / "own")


def at(folder, name):
    """The objects of a folder inside, which can be listed as those of a service can."""
    return connect(Url((folder / name).as_uri()))


def test_objects_of_a_store_are_those_of_its_folder(folder, shelf):
    place = Remote(at(folder, "s.zarr"))
    here = contents(shelf / "s.zarr")
    assert list(place.names()) == sorted(here)
    assert place.manifest == manifest.read(shelf / "s.zarr")
    for name, content in here.items():
        assert place.size(name) == len(content)
        assert place.digest(name) == hashlib.sha256(content).hexdigest()
    assert place.read("zarr.json") == here["zarr.json"]
    assert place.read("manifest.json") == here["manifest.json"]
    assert place.part("zarr.json", 3, 9) == here["zarr.json"][3:9]
    assert (place.size("none"), place.digest("none")) == (None, "unreadable (missing)")


def test_objects_of_an_archive_are_those_of_its_folder(folder, shelf):
    place = RemoteArchive(at(folder, ""), "s.zarr.zip")
    here = contents(shelf / "s.zarr")
    assert list(place.names()) == sorted(here)
    assert place.manifest == manifest.read(shelf / "s.zarr")
    for name, content in here.items():
        assert place.size(name) == len(content)
        assert place.read(name) == content
    assert place.part("zarr.json", 3, 9) == here["zarr.json"][3:9]
    with pytest.raises(FileNotFoundError):
        list(place.pieces("none"))


def test_what_a_service_lists_is_told_though_the_manifest_does_not(folder):
    (folder / "s.zarr/more").write_bytes(b"1")
    (folder / "s.zarr/queries/rank/c/0").unlink()
    place = Remote(at(folder, "s.zarr"))
    assert {"more"} == set(place.names()) - set(place.manifest["objects"]) - {"manifest.json"}
    assert (place.size("more"), place.size("queries/rank/c/0")) == (1, None)


def test_where_nothing_is_listed_the_manifest_tells(site):
    place = Remote(connect(Url(f"{site.url}/s.zarr")))
    assert set(place.names()) == {*place.manifest["objects"], "manifest.json"}
    assert place.size("queries/rank/c/0") == place.manifest["objects"]["queries/rank/c/0"]["size"]
    assert place.size("none") is None
    assert place.size("manifest.json") == len(place.read("manifest.json"))


def test_an_object_that_is_longer_is_not_read_to_its_end(folder):
    path = folder / "s.zarr/queries/rank/c/0"
    path.write_bytes(path.read_bytes() + b"x")
    place = Remote(at(folder, "s.zarr"))
    with pytest.raises(VerificationError) as caught:
        place.read("queries/rank/c/0")
    assert str(caught.value) == (
        "object is 'longer'; expected as many bytes as its manifest says. "
        f"At {place.path}/queries/rank/c/0. Do not use this store."
    )
    assert place.digest("queries/rank/c/0") == "of more bytes than the manifest says"


def test_a_manifest_that_never_ends(folder, monkeypatch):
    monkeypatch.setattr(remote, "MOST_MANIFEST_BYTES", 99)
    with pytest.raises(VerificationError) as caught:
        Remote(at(folder, "s.zarr"))
    where = Url((folder / "s.zarr").as_uri()) / "manifest.json"
    assert str(caught.value) == (
        f"manifest is 'longer'; expected at most 99 bytes. At {where}. Do not use this store."
    )


def test_no_archive(folder):
    (folder / "broken.zip").write_bytes(b"PK")
    for name, got in (("none.zip", "missing"), ("broken.zip", "File is not a zip file")):
        with pytest.raises(SchemaError) as caught:
            RemoteArchive(at(folder, ""), name)
        where = Url(folder.as_uri()) / name
        assert str(caught.value) == (
            f"file is '{got}'; expected a .zarr.zip that qloc store pack wrote. At {where}. Correct the URL."
        )
