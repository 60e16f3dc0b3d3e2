"""Pulling from a URL: again, interrupted; hostile remotes are refused before anything is written."""

import hashlib
import json

import pytest
from folders import contents, listing
from processes import killed_when

from qloc.canonical_json import canonical, digest
from qloc.errors import InputError, RemoteError, StorageError, VerificationError
from qloc.store.exchange.pull import pull
from qloc.store.integrity.verify import verify
from qloc.store.places import object_store
from qloc.store.reading.open_store import open_store


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_pull_over_http(shelf, site, name, tmp_path):
    out = tmp_path / "out.zarr"
    assert pull(f"{site.url}/{name}", out) == out
    assert contents(out) == contents(shelf / "s.zarr")
    assert listing(tmp_path) == ["out.zarr"]
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
    assert listing(tmp_path) == ["out.zarr"]


def forged(site, change, name="s.zarr"):
    """Let the server give another manifest, valid in itself."""
    content = json.loads((site.folder / name / "manifest.json").read_bytes())
    del content["sha256"]
    change(content["objects"])
    site.contents[f"/{name}/manifest.json"] = canonical({**content, "sha256": digest(content)})


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
    forged(site, lambda objects: objects.update({name: entry or {"sha256": "0" * 64, "size": 1}}))
    (tmp_path / "inner").mkdir()
    for made in (
        lambda: pull(f"{site.url}/s.zarr", tmp_path / "inner/out"),
        lambda: open_store(f"{site.url}/s.zarr"),
    ):
        with pytest.raises(VerificationError, match="Do not use this store"):
            made()
    assert [p.name for p in tmp_path.rglob("*")] == ["inner"]


def test_more_than_there_is_room_for_is_refused(site, tmp_path):
    forged(site, lambda objects: objects.update(more={"sha256": "0" * 64, "size": 2**47}))
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
        lambda objects: objects.update(
            {"zarr.json": {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}}
        ),
    )
    for made in (
        lambda: pull(f"{site.url}/s.zarr", tmp_path / "out"),
        lambda: open_store(f"{site.url}/s.zarr"),
    ):
        with pytest.raises(VerificationError, match=r"^codec of queries/rank \(consolidated\) is 'pickle'"):
            made()
    assert listing(tmp_path) == []


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


def test_a_pull_killed_in_the_middle_goes_on(shelf, site, tmp_path):
    out = tmp_path / "out"
    program = "import sys; from qloc.store.exchange.pull import pull; pull(*sys.argv[1:])"
    site.pause = 0.1
    killed_when(lambda: len(site.asked) > 30, program, f"{site.url}/s.zarr", out)
    site.pause = 0
    assert listing(tmp_path) == [".out.partial"]
    kept = contents(tmp_path / ".out.partial")
    assert "manifest.json" not in kept
    site.asked.clear()
    pull(f"{site.url}/s.zarr", out)
    assert len(site.asked) < len(contents(out)) - 10
    assert contents(out) == contents(shelf / "s.zarr")
    assert listing(tmp_path) == ["out"]
