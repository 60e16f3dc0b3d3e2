"""Stores at URLs: opened in place with few requests, pushed, pulled, resumed; hostile remotes refused unwritten."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import servers
from synthetic import FINGERPRINT, Synthetic, write_store

from qloc.canonical_json import canonical, digest
from qloc.errors import InputError, RemoteError, SchemaError, StorageError, VerificationError
from qloc.store.exchange.merge import merge
from qloc.store.exchange.pack import pack, unpack
from qloc.store.exchange.pull import pull
from qloc.store.exchange.push import MARKER, push
from qloc.store.integrity.verify import verify
from qloc.store.places import object_store, open_place
from qloc.store.reading.info import info
from qloc.store.reading.open_store import open_store
from qloc.store.repair.whole_store import Repair
from qloc.store.writing.writer import Writer


@pytest.fixture
def site(shelf):
    with servers.http_server(shelf) as server:
        yield server


@pytest.fixture(scope="module")
def endpoint():
    with servers.s3_server() as found:
        yield found


@pytest.fixture
def s3(endpoint, monkeypatch):
    for name, value in servers.environment(endpoint).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a complete store of few rows: the S3 server is slow."""
    made = Synthetic(n_facts=3, n_layers=2, n_neurons=8, methods=("ig",))
    return write_store(tmp_path_factory.mktemp("small") / "small.zarr", made)


@pytest.fixture(scope="module")
def shelf(small, tmp_path_factory):
    """Return a folder with a store and its archive, to be served."""
    folder = tmp_path_factory.mktemp("shelf")
    pack(shutil.copytree(small, folder / "s.zarr"))
    return folder


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """Return a complete store with shards of several chunks."""
    made = Synthetic(n_facts=24, unit_facts=12, n_layers=6, n_neurons=400)
    return write_store(tmp_path_factory.mktemp("larger") / "larger.zarr", made)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


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


def test_an_object_that_is_gone_is_no_missing_values(shelf, tmp_path):
    shutil.copytree(shelf / "s.zarr", tmp_path / "s.zarr")
    with servers.http_server(tmp_path) as site:
        study = open_store(f"{site.url}/s.zarr")
        (tmp_path / "s.zarr/queries/rank/c/0").unlink()
        where = f"At {site.url}/s.zarr/queries/rank/c/0. Take this object from the store's source again."
        with pytest.raises(VerificationError) as caught:
            study.queries["rank"].load()
        size = (shelf / "s.zarr/queries/rank/c/0").stat().st_size
        assert str(caught.value) == f"object queries/rank/c/0 is 'missing'; expected {size} bytes. {where}"
        site.contents["/s.zarr/queries/rank/c/0"] = bytes(size)
        with pytest.raises(
            VerificationError, match=r"^object queries/rank/c/0 is 'sha256 \w{64}'; expected sha256"
        ):
            study.queries["rank"].load()
        assert len(verify(f"{site.url}/s.zarr")) == 1


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


def test_what_wants_files_says_how_to_get_them(site, tmp_path):
    url = f"{site.url}/s.zarr"
    for call, command in (
        (lambda: pack(url), "pack"),
        (lambda: pack(url, tmp_path / "p.zarr.zip"), "pack"),
        (lambda: unpack(f"{url}.zip"), "unpack"),
        (lambda: Repair.open(url), "repair"),
        (lambda: merge([url, tmp_path / "s.zarr"], tmp_path / "m.zarr"), "merge"),
    ):
        given = f"{url}.zip" if command == "unpack" else url
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == (
            f"store is '{given}'; expected a path on this machine. At qloc store {command}. "
            f"Run qloc store pull {given} STORE, and give STORE."
        )
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_push_from_one_url_to_another(shelf, site, name, tmp_path):
    push(f"{site.url}/{name}", (tmp_path / "out.zarr").as_uri())
    assert contents(tmp_path / "out.zarr") == contents(shelf / "s.zarr")


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_pull_over_http(shelf, site, name, tmp_path):
    out = tmp_path / "out.zarr"
    assert pull(f"{site.url}/{name}", out) == out
    assert contents(out) == contents(shelf / "s.zarr")
    assert files(tmp_path) == ["out.zarr"]
    site.asked.clear()
    assert pull(f"{site.url}/{name}", out) == out
    assert not any("signals" in path for path, _ in site.asked)


def test_pull_refuses_what_is_there(site, finished, copy, tmp_path):
    out = copy
    with pytest.raises(InputError) as caught:
        pull(f"{site.url}/s.zarr", out)
    assert str(caught.value) == (
        f"path is 'another store'; expected nothing, or the store of the URL. At {out}. Give another OUT."
    )
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="there already"):
        pull(f"{site.url}/s.zarr", tmp_path / "file")
    assert contents(out) == contents(finished)


def test_a_server_that_dies_is_gone_on_with(shelf, site, tmp_path, monkeypatch):
    monkeypatch.setitem(object_store._RETRY, "max_retries", 1)
    site.dies_after = 40
    out, aside = tmp_path / "out.zarr", tmp_path / ".out.zarr.partial"
    with pytest.raises(RemoteError, match="what arrived is kept"):
        pull(f"{site.url}/s.zarr", out)
    assert not out.exists()
    kept = set(contents(aside))
    assert 20 < len(kept) <= 40
    # A flipped bit in what was kept, something cut short, and litter, links among it: none of it gets in.
    flipped, cut, *_ = sorted(kept)
    content = bytearray((aside / flipped).read_bytes())
    content[-1] ^= 1
    (aside / flipped).write_bytes(content)
    (aside / cut).write_bytes((aside / cut).read_bytes()[:-1])
    (aside / "litter").mkdir()
    (aside / "litter/x").write_bytes(b"x")
    (aside / "link").symlink_to(shelf)
    site.dies_after = 10**9
    site.asked.clear()
    pull(f"{site.url}/s.zarr", out)
    asked = {path.removeprefix("/s.zarr/") for path, _ in site.asked}
    assert asked & kept <= {flipped, cut, "zarr.json"}
    assert {flipped, cut} < asked
    assert contents(out) == contents(shelf / "s.zarr")
    assert files(tmp_path) == ["out.zarr"]


def forged(site, change, name="s.zarr"):
    """Let the server give another manifest, valid in itself."""
    said = json.loads(
        (Path(site.RequestHandlerClass.keywords["directory"]) / name / "manifest.json").read_bytes()
    )
    del said["sha256"]
    change(said["objects"])
    site.contents[f"/{name}/manifest.json"] = canonical({**said, "sha256": digest(said)})


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("../x", None), ("/etc/x", None), ("a//b", None), ("C:\\x", None), ("manifest.json", None),
        ("zarr.json/x", None), ("big", {"sha256": "0" * 64, "size": 2**50}),
        ("bad", {"sha256": "../..", "size": 3}), ("bad", {"sha256": "0" * 64, "size": -1}),
        ("bad", {"sha256": "0" * 64, "size": True}), ("bad", 7),
    ],
)  # fmt: skip
def test_hostile_manifests_are_refused_before_anything_is_written(site, tmp_path, name, entry):
    forged(site, lambda said: said.update({name: entry or {"sha256": "0" * 64, "size": 1}}))
    (tmp_path / "inner").mkdir()
    for made in (
        lambda: pull(f"{site.url}/s.zarr", tmp_path / "inner/out"),
        lambda: open_store(f"{site.url}/s.zarr"),
    ):
        with pytest.raises(VerificationError, match="Do not use this store"):
            made()
    assert [p.name for p in tmp_path.rglob("*")] == ["inner"]


def test_more_than_there_is_room_for_is_refused(site, tmp_path):
    forged(site, lambda said: said.update(more={"sha256": "0" * 64, "size": 2**47}))
    with pytest.raises(
        StorageError, match=r"^room on the disk is '\d+ bytes'; expected \d+ bytes, as the manifest"
    ):
        pull(f"{site.url}/s.zarr", tmp_path / "out")
    assert contents(tmp_path) == {}


def test_hostile_metadata_are_refused_before_anything_is_written(shelf, site, tmp_path):
    root = json.loads((shelf / "s.zarr/zarr.json").read_bytes())
    root["consolidated_metadata"]["metadata"]["queries/rank"]["codecs"] = [{"name": "pickle"}]
    raw = canonical(root)
    site.contents["/s.zarr/zarr.json"] = raw
    forged(
        site,
        lambda said: said.update(
            {"zarr.json": {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}}
        ),
    )
    for made in (
        lambda: pull(f"{site.url}/s.zarr", tmp_path / "out"),
        lambda: open_store(f"{site.url}/s.zarr"),
    ):
        with pytest.raises(VerificationError, match=r"^codec of queries/rank \(consolidated\) is 'pickle'"):
            made()
    assert files(tmp_path) == []


def test_objects_that_are_not_as_told_do_not_become_a_store(shelf, site, tmp_path):
    name, out = "queries/rank/c/0", tmp_path / "out"
    right = (shelf / "s.zarr" / name).read_bytes()
    for wrong, error in (
        (right[:-1] + b"?", VerificationError),
        (right[:-1], VerificationError),
        (right + b"x" * 9, VerificationError),
    ):
        site.contents[f"/s.zarr/{name}"] = wrong
        with pytest.raises(error, match=name):
            pull(f"{site.url}/s.zarr", out)
        assert not out.exists()
        assert name not in contents(tmp_path / ".out.partial")
        assert "manifest.json" not in contents(tmp_path / ".out.partial")
        assert len(verify(f"{site.url}/s.zarr")) == 1
    site.contents.clear()
    assert verify(pull(f"{site.url}/s.zarr", out)) == []


def test_no_store_and_no_server(site, tmp_path, monkeypatch):
    with pytest.raises(SchemaError) as caught:
        open_store(f"{site.url}/nothing")
    assert str(caught.value) == (
        "URL is 'without a manifest'; expected a complete store, with manifest.json. "
        f"At {site.url}/nothing. Correct the URL, or push the store to its end."
    )
    with pytest.raises(SchemaError, match=r"^file is 'missing'"):
        open_store(f"{site.url}/nothing.zip")
    with pytest.raises(InputError, match="without user, password, query and fragment"):
        open_store("https://me:secret@example.org/s.zarr")
    monkeypatch.setitem(object_store._RETRY, "max_retries", 0)
    with pytest.raises(RemoteError, match=r"^service is 'Generic HTTP error"):
        open_store("http://127.0.0.1:9/s.zarr")
    with pytest.raises(InputError, match=r"^scheme is 'nonsense'; expected s3, gs"):
        pull("nonsense://x/y", tmp_path / "out")


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
    return open_place.connect(object_store.Url(url), write=True)


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


def killed(program, arguments, environment, enough):
    """Start a process and kill it when enough is done."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], env={**os.environ, **environment}
    )
    for _ in range(3000):
        if enough():
            break
        assert process.poll() is None, "over before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_pull_killed_in_the_middle_goes_on(shelf, site, tmp_path):
    out = tmp_path / "out"
    program = "import sys; from qloc.store.exchange.pull import pull; pull(*sys.argv[1:])"
    site.pause = 0.1
    killed(program, (f"{site.url}/s.zarr", out), {}, lambda: len(site.asked) > 30)
    site.pause = 0
    assert files(tmp_path) == [".out.partial"]
    kept = contents(tmp_path / ".out.partial")
    assert "manifest.json" not in kept
    site.asked.clear()
    pull(f"{site.url}/s.zarr", out)
    assert len(site.asked) < len(contents(out)) - 10
    assert contents(out) == contents(shelf / "s.zarr")
    assert files(tmp_path) == ["out"]


def test_a_push_killed_in_the_middle_goes_on(s3, small, copy):
    url = "s3://bucket/killed/small.zarr"
    program = "import sys; from qloc.store.exchange.push import push; push(*sys.argv[1:])"
    killed(program, (small, url), {}, lambda: len(at(url).listing()) > 5)
    there = at(url).listing()
    assert MARKER in there
    assert "manifest.json" not in there
    assert len(there) < len(contents(small))
    with pytest.raises(SchemaError, match="without a manifest"):
        open_store(url)
    with pytest.raises(InputError, match="another store"):
        push(copy, url)
    sent = []
    target = at(url)
    kind = type(target)
    put = kind.put
    try:
        kind.put = lambda self, named: (sent.extend(named), put(self, named))[1]
        push(small, url)
    finally:
        kind.put = put
    assert {*sent} == {*contents(small)} - {*there} | {MARKER, "manifest.json"}
    assert set(at(url).listing()) == set(contents(small))
    assert verify(url) == []


HUB = "hf://datasets/me/facts/small.zarr"
ROUND = """
import sys
from qloc.store.exchange.pull import pull
from qloc.store.exchange.push import push
from qloc.store.reading.open_store import open_store
from qloc.store.repair.whole_store import Repair
from qloc.store.integrity.verify import verify
store, url, out = sys.argv[1:]
push(store, url)
push(store, url)
assert verify(url) == []
assert open_store(url).queries.load().identical(open_store(store).queries.load())
pull(url, out)
"""


def on_the_hub(program, arguments, **environment):
    told = {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True)


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
        program = "import sys; from qloc.store.exchange.push import push; push(*sys.argv[1:])"
        done = on_the_hub(program, (small, HUB + "2"), HF_TOKEN="", **home)
        assert "RemoteError: service is " in done.stderr
        assert "401" in done.stderr.splitlines()[-1]
        assert len(hub.commits) == 4


def test_the_hub_offline(small):
    with pytest.raises(RemoteError, match=r"(?i)offline"):
        push(small, HUB)
