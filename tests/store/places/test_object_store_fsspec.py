"""Objects through fsspec file systems, and the Hugging Face Hub among them."""

import os
import pickle
import sys

import forked
import fsspec
import pytest
import servers
from folders import contents

from qloc.errors import InputError, RemoteError
from qloc.store.exchange.push import MARKER, push
from qloc.store.files.url import Url
from qloc.store.places.object_store import Entry
from qloc.store.places.object_store_fsspec import connected


@pytest.fixture
def memory(tmp_path):
    """Return the objects of a folder in memory, of a name of its own: fsspec remembers folders."""
    yield connected(Url(f"memory://{tmp_path.name}/store"))
    fsspec.filesystem("memory").store.clear()


def test_what_is_put_is_there_in_whole_and_in_parts(memory):
    assert memory.listing() == {}
    memory.put({"a/b": b"0123456789", "c": b""})
    assert memory.read("a/b") == b"0123456789"
    assert memory.read("a/b", 2, 5) == b"234"
    assert memory.read("a/b", 7) == b"789"
    assert (memory.size("a/b"), memory.size("c")) == (10, 0)
    assert b"".join(memory.pieces("a/b")) == b"0123456789"
    assert memory.listing() == {"a/b": Entry(size=10), "c": Entry(size=0)}
    memory.put({"c": b"new"})
    memory.delete(["a/b"])
    assert memory.listing() == {"c": Entry(size=3)}


def test_an_object_that_is_not_there(memory):
    memory.put({"a": b"1"})
    for ask in (memory.read, memory.size, lambda name: list(memory.pieces(name))):
        with pytest.raises(FileNotFoundError):
            ask("none")


def test_who_was_pickled_reads_the_same(memory):
    memory.put({"a": b"1"})
    assert pickle.loads(pickle.dumps(memory)).read("a") == b"1"


def test_unknown_scheme():
    with pytest.raises(InputError) as caught:
        connected(Url("nonsense://x/y"))
    assert str(caught.value) == (
        "scheme is 'nonsense'; expected s3, gs, az, http, https, file, hf, or another scheme of fsspec. "
        "At nonsense://x/y. Correct the URL."
    )


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        connected(Url("sftp://host/s.zarr"))
    assert caught.value.name == "paramiko"


HUB = "hf://datasets/me/facts/small.zarr"


ROUND = """
import os
import sys
import fsspec
from qloc.errors import RemoteError
from qloc.store.exchange.pull import pull
from qloc.store.exchange.push import push
from qloc.store.reading.open_store import open_store
from qloc.store.integrity.verify import verify
store, url, out = sys.argv[1:]
push(store, url)
push(store, url)
assert verify(url) == []
assert open_store(url).queries.load().identical(open_store(store).queries.load())
pull(url, out)
os.environ["HF_TOKEN"] = ""
fsspec.get_filesystem_class("hf").clear_instance_cache()
try:
    push(store, url + "2")
except RemoteError as error:
    print(error)
"""


def on_the_hub(program, arguments, **environment):
    settings = {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return forked.run(command, env={**os.environ, **settings}, capture_output=True, text=True)


def test_the_hub_there_and_back(small, tmp_path):
    with servers.hub_server() as hub:
        home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        done = on_the_hub(ROUND, (small, HUB, tmp_path / "out"), HF_TOKEN="hf_token", **home)
        assert done.returncode == 0, done.stderr[-3000:]
        assert contents(tmp_path / "out") == contents(small)
        names = {f"small.zarr/{name}" for name in contents(small)}
        assert set(hub.files) == names | {".gitattributes"}
        # push.json, all objects at once, the manifest last, push.json gone; the second push commits nothing.
        manifest, marker = "small.zarr/manifest.json", f"small.zarr/{MARKER}"
        assert [set(commit) for commit in hub.commits] == [{marker}, names - {manifest}, {manifest}, {marker}]
        # Without a token nothing more is put.
        assert done.stdout.startswith("service is ")
        assert "401" in done.stdout.splitlines()[0]
        assert len(hub.commits) == 4


def test_the_hub_offline(small):
    with pytest.raises(RemoteError, match=r"(?i)offline"):
        push(small, HUB)
