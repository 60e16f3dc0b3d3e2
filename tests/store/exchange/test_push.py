"""Pushing to a URL: again, in place of another store, interrupted; what is not qloc's is never touched."""

import json
import time

import fsspec
import pytest
from folders import contents
from processes import killed_when
from synthetic import FINGERPRINT

from qloc.errors import InputError, RemoteError, SchemaError, VerificationError
from qloc.store.exchange.pull import pull
from qloc.store.exchange.push import MARKER, push
from qloc.store.files.url import Url
from qloc.store.integrity.verify import verify
from qloc.store.places.object_store import ObstoreObjects
from qloc.store.places.open_place import connect
from qloc.store.reading.open_store import open_store
from qloc.store.writing.writer import Writer


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_push_from_one_url_to_another(shelf, site, name, tmp_path):
    push(f"{site.url}/{name}", (tmp_path / "out.zarr").as_uri())
    assert contents(tmp_path / "out.zarr") == contents(shelf / "s.zarr")


def test_push_over_http_is_refused(small):
    with pytest.raises(InputError) as caught:
        push(small, "https://example.org/s.zarr")
    assert str(caught.value) == (
        "URL is 'https://example.org/s.zarr'; expected a URL that can be written to, such as "
        "s3://bucket/study.zarr. At qloc store push. Push to the service itself; pull reads from https."
    )


def test_s3_there_and_back(s3, small, tmp_path):
    url = "s3://bucket/there/small.zarr"
    assert push(small, url) == url
    assert verify(url) == []
    study, here = open_store(url), open_store(small)
    assert study.signals.load().identical(here.signals.load())
    assert contents(pull(url, tmp_path / "out")) == contents(small)


@pytest.fixture(params=["memory", "file"])
def target(request, tmp_path):
    if request.param == "memory":
        yield "memory://push/store"
        fsspec.filesystem("memory").store.clear()
    else:
        yield f"file://{tmp_path}/far/store"


def at(url):
    return connect(Url(url), write=True)


def test_push_again_and_replace(target, small, copy, tmp_path):
    push(small, target)
    push(small, target)
    with pytest.raises(InputError) as caught:
        push(copy, target)
    own = json.loads((copy / "manifest.json").read_bytes())["sha256"]
    assert str(caught.value) == (
        f"URL is 'another store'; expected nothing, or this store, with manifest sha256 {own}. "
        f"At {target}. Give another URL, or replace it with --replace."
    )
    assert verify(target) == []
    push(copy, target, replace=True)
    assert set(at(target).listing()) == set(contents(copy))
    assert verify(target) == []
    assert contents(pull(target, tmp_path / "out")) == contents(copy)


def test_push_repairs_what_is_there(target, small):
    push(small, target)
    name = "queries/rank/c/0"
    size = (small / name).stat().st_size
    at(target).put({name: bytes(size)})
    at(target).delete(["facts/id/c/0"])
    assert len(verify(target)) == 2
    push(small, target)
    assert verify(target) == []


def test_foreign_objects_are_never_touched(target, small):
    at(target).put({"README.md": b"mine"})
    for replace in (False, True):
        with pytest.raises(InputError) as caught:
            push(small, target, replace=replace)
        assert str(caught.value) == (
            f"URL is 'with README.md'; expected nothing, or a store that qloc pushed. At {target}. "
            "Give a URL of the store's own."
        )
    assert set(at(target).listing()) == {"README.md"}
    at(target).delete(["README.md"])
    at(target).put({"manifest.json": b"{}"})
    with pytest.raises(InputError, match=r"with manifest\.json"):
        push(small, target, replace=True)


def test_only_complete_stores_are_pushed(target, copy, study, tmp_path):
    with Writer.open(tmp_path / "half.zarr", study.outline(), FINGERPRINT):
        pass
    (copy / "queries/rank/c/0").write_bytes(b"")
    for store in (tmp_path / "half.zarr", copy):
        with pytest.raises(VerificationError):
            push(store, target)
    assert not at(target).listing()


def test_what_a_service_garbles_is_not_called_a_store(small, monkeypatch):
    files = fsspec.filesystem("memory")
    url = "memory://garbled/store"
    put = type(files).pipe_file

    def garbled(self, path, value, **how):
        put(self, path, value[:-1] + b"?" if path.endswith("rank/c/0") else value, **how)

    monkeypatch.setattr(type(files), "pipe_file", garbled)
    with pytest.raises(RemoteError) as caught:
        push(small, url)
    assert str(caught.value) == (
        "objects queries/rank/c/0 is 'something else'; expected what was put. "
        f"At {url}. Run the same command again; if it stays so, use another service."
    )
    assert {"manifest.json", MARKER} & set(at(url).listing()) == {MARKER}
    monkeypatch.undo()
    push(small, url)
    assert verify(url) == []
    files.store.clear()


def settled(url):
    """The objects at a URL, once those that a killed process had sent have all arrived."""
    there = None
    while there != (now := at(url).listing()):
        there = now
        time.sleep(0.5)
    return there


def test_a_push_killed_in_the_middle_goes_on(s3, small, copy):
    url = "s3://bucket/killed/small.zarr"
    program = "import sys; from qloc.store.exchange.push import push; push(*sys.argv[1:])"
    killed_when(lambda: len(at(url).listing()) > 5, program, small, url)
    there = settled(url)
    assert MARKER in there
    assert "manifest.json" not in there
    assert len(there) < len(contents(small))
    with pytest.raises(SchemaError, match="without a manifest"):
        open_store(url)
    with pytest.raises(InputError, match="another store"):
        push(copy, url)
    sent: list[str] = []
    put = ObstoreObjects.put

    def noted(self, named):
        sent.extend(named)
        put(self, named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ObstoreObjects, "put", noted)
        push(small, url)
    assert {*sent} == {*contents(small)} - {*there} | {MARKER, "manifest.json"}
    assert set(at(url).listing()) == set(contents(small))
    assert verify(url) == []
