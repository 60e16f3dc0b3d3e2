"""What zarr reads through a manifest: nothing that it does not list, and nothing that is not as it says."""

import asyncio
import hashlib
import json
import shutil

import pytest
import servers
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from qloc.errors import VerificationError
from qloc.store.files.url import Url
from qloc.store.integrity.verify import verify
from qloc.store.places.verified_objects import ManifestObjects
from qloc.store.reading.open_store import open_store


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


PROTOTYPE = default_buffer_prototype()
NODE = {"node_type": "group", "zarr_format": 3}
ROOT = json.dumps({**NODE, "consolidated_metadata": {"metadata": {"a": NODE}}}).encode()


class Contents:
    """Objects that are where a store is read; it counts what is read of them."""

    path = Url("s3://b/s.zarr")

    def __init__(self, contents):
        self.contents, self.asked = dict(contents), []

    def read(self, name):
        self.asked.append(name)
        try:
            return self.contents[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def part(self, name, start, stop):
        return self.read(name)[start:stop]


def entry(content):
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


@pytest.fixture
def source():
    return Contents({"zarr.json": ROOT, "a/x/c/0": b"0123456789", "a/y/c/0": b"", "stranger": b"unlisted"})


@pytest.fixture
def verified(source):
    listed = {name: entry(content) for name, content in source.contents.items() if name != "stranger"}
    return ManifestObjects(source, {**listed, "a/zarr.json": entry(b"never read"), "gone": entry(b"123")})


def got(verified, key, byte_range=None):
    buffer = asyncio.run(verified.get(key, PROTOTYPE, byte_range))
    return None if buffer is None else buffer.to_bytes()


def names(listing):
    async def collected():
        return [name async for name in listing]

    return asyncio.run(collected())


def test_whole_objects_and_parts(verified):
    assert got(verified, "a/x/c/0") == b"0123456789"
    assert got(verified, "a/x/c/0", RangeByteRequest(2, 5)) == b"234"
    assert got(verified, "a/x/c/0", RangeByteRequest(8, 99)) == b"89"
    assert got(verified, "a/x/c/0", OffsetByteRequest(7)) == b"789"
    assert got(verified, "a/x/c/0", SuffixByteRequest(4)) == b"6789"
    assert got(verified, "a/x/c/0", SuffixByteRequest(99)) == b"0123456789"
    assert got(verified, "a/y/c/0") == b""
    ranges = [("a/x/c/0", RangeByteRequest(0, 2)), ("none", None), ("a/y/c/0", None)]
    buffers = asyncio.run(verified.get_partial_values(PROTOTYPE, ranges))
    assert [None if buffer is None else buffer.to_bytes() for buffer in buffers] == [b"01", None, b""]


def test_what_is_not_listed_is_not_even_asked_for(verified, source):
    assert got(verified, "stranger") is None
    assert not asyncio.run(verified.exists("stranger"))
    with pytest.raises(FileNotFoundError, match="stranger"):
        asyncio.run(verified.getsize("stranger"))
    assert source.asked == []


def test_metadata_are_those_of_the_root_and_read_once(verified, source):
    for _ in range(2):
        assert json.loads(got(verified, "a/zarr.json")) == NODE
    assert got(verified, "zarr.json") == ROOT
    assert source.asked == ["zarr.json", "zarr.json"]


def test_metadata_that_the_root_does_not_have_are_none(source):
    verified = ManifestObjects(source, {"zarr.json": entry(ROOT), "b/zarr.json": entry(b"x")})
    assert got(verified, "b/zarr.json") is None


@pytest.mark.parametrize(
    ("content", "byte_range", "what", "rule"),
    [
        (b"0123456780", None, "sha256 {0}", "sha256 {1}"),
        (b"012345678", None, "sha256 {0}", "sha256 {1}"),
        (b"01234", RangeByteRequest(3, 8), "2 bytes from 3 on", "5 of 10 bytes"),
        (b"01234", SuffixByteRequest(5), "0 bytes from 5 on", "5 of 10 bytes"),
        (None, None, "missing", "10 bytes"),
        (None, OffsetByteRequest(1), "missing", "10 bytes"),
    ],
)
def test_what_is_not_as_listed_is_refused(verified, source, content, byte_range, what, rule):
    if content is None:
        del source.contents["a/x/c/0"]
    else:
        source.contents["a/x/c/0"] = content
    digests = [hashlib.sha256(value).hexdigest() for value in (content or b"", b"0123456789")]
    with pytest.raises(VerificationError) as caught:
        got(verified, "a/x/c/0", byte_range)
    assert str(caught.value) == (
        f"object a/x/c/0 is '{what.format(*digests)}'; expected {rule.format(*digests)}. "
        "At s3://b/s.zarr/a/x/c/0. Take this object from the store's source again."
    )


def test_lists_and_sizes_are_the_manifests(verified, source):
    assert names(verified.list()) == ["zarr.json", "a/x/c/0", "a/y/c/0", "a/zarr.json", "gone"]
    assert names(verified.list_prefix("a/x")) == ["a/x/c/0"]
    assert names(verified.list_dir("")) == ["zarr.json", "a", "gone"]
    assert names(verified.list_dir("a")) == names(verified.list_dir("a/")) == ["x", "y", "zarr.json"]
    assert asyncio.run(verified.getsize("a/x/c/0")) == 10
    assert asyncio.run(verified.exists("gone"))
    assert source.asked == []


def test_nothing_is_written(verified):
    buffer = PROTOTYPE.buffer.from_bytes(b"x")
    for write in (verified.set("a/x/c/0", buffer), verified.delete("a/x/c/0")):
        with pytest.raises(ValueError, match="read-only"):
            asyncio.run(write)
    assert verified.with_read_only(False).read_only


def test_equal_where_place_and_manifest_are(verified, source):
    assert verified == verified.with_read_only()
    assert verified != ManifestObjects(source, {})
    assert verified != "s3://b/s.zarr"
    assert str(verified) == "s3://b/s.zarr"
