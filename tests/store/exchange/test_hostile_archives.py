"""A stranger's archive: whatever it says that no store does is refused, before anything is unpacked."""

import io
import json
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from synthetic import Synthetic, write_store

from qloc.canonical_json import canonical, digest
from qloc.errors import SchemaError, VerificationError
from qloc.store.exchange.pack import pack, unpack
from qloc.store.integrity.verify import verify
from qloc.store.places.open_place import place_of
from qloc.store.places.zip_archive import Archive
from qloc.store.reading.info import info
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest, metadata

SUSPECT = "Do not use this archive; take it from its source again."


STRANGE = "Do not use this store; take it from its source again."


SOURCE = "Take the archive from its source again."


@pytest.fixture(scope="module")
def packed(finished, tmp_path_factory):
    return pack(finished, tmp_path_factory.mktemp("packed") / "s.zarr.zip")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "s.zip").write_bytes(b"PK nonsense")
    for read in (open_store, unpack, verify, info):
        with pytest.raises(SchemaError) as caught:
            read(tmp_path / "s.zip")
        assert str(caught.value) == (
            "file is 'File is not a zip file'; expected a store's folder, or a .zarr.zip that qloc store "
            f"pack wrote. At {tmp_path}/s.zip. Give the path of one of these."
        )


# Hostile archives are made from a good one, the manifest made to agree where an attacker could.


def members(packed):
    with zipfile.ZipFile(packed) as source:
        return {name: source.read(name) for name in source.namelist()}


def forged(found, changed):
    """Members with changes, and a manifest that vouches for all of them."""
    found = {**found, **changed}
    said = json.loads(found.pop("manifest.json"))
    del said["sha256"]
    import hashlib

    said["objects"] = {
        name: {"sha256": hashlib.sha256(b).hexdigest(), "size": len(b)} for name, b in found.items()
    }
    return {**found, "manifest.json": canonical({**said, "sha256": digest(said)})}


def write_zip(path, entries, kind=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", kind) as target:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            target.writestr(name, content)
    return path


def refused(archive, out):
    """What unpack and open say of an archive; neither writes."""
    before = sorted(archive.parent.iterdir())
    with pytest.raises(VerificationError) as caught:
        unpack(archive, out)
    with pytest.raises((VerificationError, SchemaError)):
        open_store(archive)
    assert sorted(archive.parent.iterdir()) == before
    return caught.value.problems


@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "a/../../evil", "C:/evil", "a\\evil", "a//b", "./b"]
)
def test_member_that_leaves_the_store(packed, tmp_path, name):
    found = forged(members(packed), {name: b"x"})
    problems = refused(write_zip(tmp_path / "s.zip", found.items()), tmp_path / "out")
    at = tmp_path / "s.zip"
    assert f"name of a member is {name!r}; expected a path inside the store. At {at}. {SUSPECT}" in problems


def test_link_and_device(packed, tmp_path):
    link, device = zipfile.ZipInfo("facts/link"), zipfile.ZipInfo("facts/device")
    link.external_attr, device.external_attr = (stat.S_IFLNK | 0o777) << 16, (stat.S_IFCHR | 0o777) << 16
    good = forged(members(packed), {"facts/link": b"/etc/passwd", "facts/device": b""})
    del good["facts/link"], good["facts/device"]
    entries = [*good.items(), (link, b"/etc/passwd"), (device, b"")]
    at = tmp_path / "s.zip"
    assert refused(write_zip(at, entries), tmp_path / "out") == (
        f"member 'facts/link' is 'a link'; expected an ordinary file. At {at}. {SUSPECT}",
        f"member 'facts/device' is 'no ordinary file'; expected an ordinary file. At {at}. {SUSPECT}",
    )


def test_name_twice_and_a_file_that_is_a_folder(packed, tmp_path):
    found = members(packed)
    at = tmp_path / "s.zip"
    problems = refused(
        write_zip(at, [*found.items(), ("zarr.json", b"{}"), ("README.md/x", b"")]), tmp_path / "out"
    )
    assert problems[:2] == (
        f"members named 'zarr.json' is 2; expected one. At {at}. {SUSPECT}",
        f"member 'README.md' is 'a file and a folder'; expected one of them. At {at}. {SUSPECT}",
    )


def test_member_not_in_the_manifest_missing_and_of_another_size(packed, tmp_path):
    found = members(packed)
    size = len(found.pop("grams/gram/c/0/0/0/0"))
    found["facts/more"] = b"x"
    found["README.md"] += b"more"
    at = tmp_path / "s.zip"
    assert refused(write_zip(at, found.items()), tmp_path / "out") == (
        f"the card is '{len(found['README.md'])} bytes'; expected {len(found['README.md']) - 4} bytes. "
        f"At {at}/README.md. {SOURCE}",
        f"object is 'extra'; expected only objects of the manifest. At {at}/facts/more. "
        "Remove it: it is no part of the store.",
        f"array grams/gram, facts 0 to 9 (units 0 to 3) is 'missing'; expected {size} bytes. "
        f"At {at}/grams/gram/c/0/0/0/0. {SOURCE}",
    )


def test_compressed_members_are_refused_as_bombs_need_them(packed, tmp_path):
    found = forged(members(packed), {"facts/bomb": bytes(10_000_000)})
    at = write_zip(tmp_path / "s.zip", found.items(), zipfile.ZIP_DEFLATED)
    assert at.stat().st_size < 200_000
    problems = refused(at, tmp_path / "out")
    assert any(text.startswith("member 'facts/bomb' is 'compressed, 9") for text in problems)


def test_members_that_share_bytes(packed, tmp_path):
    """A directory that lists one member's bytes under two names."""
    found = forged(members(packed), {"facts/again": b"x" * 100})
    at = write_zip(tmp_path / "s.zip", found.items())
    with zipfile.ZipFile(at) as source:
        one, two = (source.getinfo(name) for name in ("README.md", "facts/again"))
    raw = at.read_bytes()
    start = raw.rindex(b"facts/again") - 46
    entry = bytearray(raw[start : start + 46])
    entry[42:46] = one.header_offset.to_bytes(4, "little")
    at.write_bytes(raw[:start] + entry + raw[start + 46 :])
    problems = refused(at, tmp_path / "out")
    assert problems[0] == (
        f"members is 'at one place in the archive'; expected each with bytes of its own. At {at}. {SUSPECT}"
    )
    entry[42:46] = (two.header_offset - 5).to_bytes(4, "little")
    at.write_bytes(raw[:start] + entry + raw[start + 46 :])
    assert "expected bytes of its own, before " in refused(at, tmp_path / "out")[0]


def test_flipped_bit_of_a_member(packed, tmp_path):
    raw = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as source:
        member = source.getinfo("queries/rank/c/0")
    raw[member.header_offset + 30 + len(member.filename) + 3] ^= 1
    at = tmp_path / "s.zip"
    at.write_bytes(raw)
    with pytest.raises(VerificationError) as caught:
        unpack(at, tmp_path / "out")
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(
        "array queries/rank, queries 0 to 15 (units 0 to 3) is "
        "\"sha256 unreadable (Bad CRC-32 for file 'queries/rank/c/0')\"; expected sha256 "
    )
    assert not (tmp_path / "out").exists()


def test_truncated_archives_are_refused(packed, tmp_path):
    raw, at = packed.read_bytes(), tmp_path / "s.zip"
    for n in (0, 1, len(raw) // 2, len(raw) - 1):
        at.write_bytes(raw[:n])
        with pytest.raises(SchemaError):
            unpack(at, tmp_path / "out")


def changed_metadata(packed, name, change):
    found = members(packed)
    node = json.loads(found[name])
    change(node)
    return forged(found, {name: json.dumps(node).encode()})


METADATA = {
    "huge shape": (
        lambda node: node.update(shape=[2**62, 16, 82]),
        f"shape of signals/attribution is ({2**62}, 16, 82); expected axes of at most 2147483647, "
        f"{2**48} bytes in all. At {{at}}. {STRANGE}",
    ),
    "huge chunk": (
        lambda node: node["chunk_grid"]["configuration"].update(chunk_shape=[2**40, 16, 82]),
        f"chunk of signals/attribution is ({2**40}, 16, 82); expected 3 axes, at most {2**30} bytes. "
        f"At {{at}}. {STRANGE}",
    ),
    "pickles": (
        lambda node: node.update(codecs=[{"name": "numcodecs.pickle"}]),
        "codec of signals/attribution is 'numcodecs.pickle'; expected one of bytes, vlen-utf8, zstd, crc32c, "
        f"sharding_indexed. At {{at}}. {STRANGE}",
    ),
    "pickles in shards": (
        lambda node: node.update(
            codecs=[{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "pickle"}]}}]
        ),
        "codec of signals/attribution is 'pickle'; expected one of bytes, vlen-utf8, zstd, crc32c, "
        f"sharding_indexed. At {{at}}. {STRANGE}",
    ),
    "objects": (
        lambda node: node.update(data_type="object"),
        "dtype of signals/attribution is 'object'; expected one of int8, int16, int32, int64, uint8, uint16, "
        f"uint32, uint64, float16, float32, float64, bool, string. At {{at}}. {STRANGE}",
    ),
    "negative shape": (
        lambda node: node.update(shape=[-1]),
        "metadata of signals/attribution is 'ValueError: [-1] is no shape'; expected an array's as qloc "
        f"writes it. At {{at}}. {STRANGE}",
    ),
    "another format": (
        lambda node: node.update(zarr_format=2),
        "metadata of signals/attribution is 'array'; expected a group or an array of Zarr v3. "
        f"At {{at}}. {STRANGE}",
    ),
    "no shape": (
        lambda node: node.pop("shape"),
        "metadata of signals/attribution is \"KeyError: 'shape'\"; expected an array's as qloc writes it. "
        f"At {{at}}. {STRANGE}",
    ),
}


@pytest.mark.parametrize(("change", "expected"), METADATA.values(), ids=METADATA.keys())
def test_metadata_that_no_store_has(packed, tmp_path, change, expected):
    name = "signals/attribution/zarr.json"
    at = write_zip(tmp_path / "s.zip", changed_metadata(packed, name, change).items())
    assert refused(at, tmp_path / "out") == (expected.format(at=at / name),)


def test_pickles_in_consolidated_metadata_only(packed, tmp_path):
    def change(root):
        root["consolidated_metadata"]["metadata"]["facts/id"]["codecs"] = [{"name": "pickle"}]

    at = write_zip(tmp_path / "s.zip", changed_metadata(packed, "zarr.json", change).items())
    (problem,) = refused(at, tmp_path / "out")
    assert problem.startswith("codec of facts/id (consolidated) is 'pickle'; expected one of bytes")


def test_layout_of_another_study(packed, tmp_path):
    def change(root):
        root["attributes"]["layout"]["sizes"]["query"] = 2**62

    at = write_zip(tmp_path / "s.zip", changed_metadata(packed, "zarr.json", change).items())
    (problem,) = refused(at, tmp_path / "out")
    assert problem.startswith(f"layout is \"sizes {{'query': {2**62}}}, which are no whole numbers from 0 to")


def test_metadata_deep_as_a_well(packed, tmp_path):
    found = forged(members(packed), {"facts/id/zarr.json": b"[" * 100_000})
    at = write_zip(tmp_path / "s.zip", found.items())
    (problem,) = refused(at, tmp_path / "out")
    assert problem.startswith("metadata of facts/id is '")


def test_metadata_of_every_good_store_passes(finished, tmp_path, monkeypatch):
    assert metadata.problems(place_of(finished)) == []
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
    sharded = write_store(tmp_path / "s.zarr", Synthetic(n_heads=0), tier="dense", store_dtype="float64")
    assert verify(sharded) == []
    opened = open_store(pack(sharded))
    assert np.isfinite(opened.signals["attribution"]).all()


def test_archive_is_read_a_piece_at_a_time(packed):
    archive = Archive.open(packed)
    with pytest.raises(FileNotFoundError):
        archive.read("no")
    assert archive.size("no") is None
    assert json.loads(archive.read("manifest.json")) == manifest.read(archive)
    assert isinstance(zarr.open_group(archive.zarr(), mode="r"), zarr.Group)
    assert isinstance(io.BytesIO(archive.read("README.md")).read(), bytes)
    assert isinstance(xr.open_zarr(archive.zarr(), group="facts", consolidated=False), xr.Dataset)
    assert Path(archive.path) == packed
