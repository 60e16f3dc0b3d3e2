"""A packed store as a place; archives made by hand that say what no store's does."""

import hashlib
import stat
import struct
import zipfile

import pytest
from folders import contents

from qloc.errors import SchemaError, VerificationError
from qloc.store.places.zip_archive import Archive

ACTION = "Do not use this archive; take it from its source again."


def zipped(path, members, compression=zipfile.ZIP_STORED):
    """Write a zip of (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def problems(path):
    return [text.replace(f" At {path}. {ACTION}", "") for text in Archive.inspect(path).problems]


def test_members_are_the_objects_of_the_store(shelf):
    archive = Archive.open(shelf / "s.zarr.zip")
    here = contents(shelf / "s.zarr")
    assert list(archive.names()) == sorted(here)
    for name, content in here.items():
        assert archive.read(name) == content
        assert archive.size(name) == len(content)
        assert archive.digest(name) == hashlib.sha256(content).hexdigest()
    assert b"".join(archive.pieces("zarr.json")) == here["zarr.json"]


def test_a_member_that_is_not_there(shelf):
    archive = Archive.open(shelf / "s.zarr.zip")
    assert archive.size("none") is None
    with pytest.raises(FileNotFoundError):
        archive.read("none")
    assert archive.digest("none") == "unreadable (No such file or directory)"


def test_a_member_with_a_flipped_bit(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x", b"0123456789"), ("y", b"right")])
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"0123456789", b"0123456780", 1))
    archive = Archive.open(path)
    with pytest.raises(OSError, match="Bad CRC-32 for file 'x'"):
        archive.read("x")
    assert archive.digest("x") == "unreadable (Bad CRC-32 for file 'x')"
    assert archive.read("y") == b"right"


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06"])
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(SchemaError) as caught:
        Archive.inspect(path)
    assert str(caught.value) == (
        "file is 'File is not a zip file'; expected a store's folder, or a .zarr.zip that qloc store pack wrote. "
        f"At {path}. Give the path of one of these."
    )


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", "a\\b", "C:/x"])
def test_names_that_lead_out(tmp_path, name):
    path = zipped(tmp_path / "a.zip", [(name, b"")])
    assert problems(path) == [f"name of a member is {name!r}; expected a path inside the store."]


def test_folders_are_no_members(tmp_path):
    path = zipped(tmp_path / "a.zip", [("folder/", b"")])
    assert problems(path) == [
        "name of a member is 'folder/'; expected a path inside the store.",
        "member 'folder/' is 'no ordinary file'; expected an ordinary file.",
    ]


@pytest.mark.parametrize(
    ("kind", "got"),
    [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "no ordinary file"), (stat.S_IFDIR, "no ordinary file")],
)
def test_links_and_the_like(tmp_path, kind, got):
    info = zipfile.ZipInfo("x")
    info.external_attr = (kind | 0o777) << 16
    path = zipped(tmp_path / "a.zip", [(info, b"/etc/passwd")])
    assert problems(path) == [f"member 'x' is '{got}'; expected an ordinary file."]


def test_compressed_members(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x", bytes(1000))], zipfile.ZIP_DEFLATED)
    (text,) = problems(path)
    assert text.startswith("member 'x' is 'compressed, ")
    assert text.endswith(" bytes for 1000'; expected stored as it is.")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_and_a_file_that_is_a_folder(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x", b"1"), ("x", b"2"), ("a", b"3"), ("a/b/c", b"4")])
    assert problems(path) == [
        "members named 'x' is 2; expected one.",
        "member 'a' is 'a file and a folder'; expected one of them.",
    ]
    with pytest.raises(VerificationError) as caught:
        Archive.open(path)
    assert str(caught.value).split("\n") == [f"{text} At {path}. {ACTION}" for text in problems(path)]


def test_members_that_share_bytes(tmp_path):
    """The directory's entry of the second member leads to the first, or the first is as long as both."""
    path = zipped(tmp_path / "a.zip", [("x", b"0" * 50), ("y", b"1" * 50)])
    offset = zipfile.ZipFile(path).getinfo("y").header_offset
    raw = path.read_bytes()
    directory = raw.rindex(b"PK\x01\x02")
    path.write_bytes(raw[: directory + 42] + struct.pack("<L", 0) + raw[directory + 46 :])
    assert problems(path) == [
        "members is 'at one place in the archive'; expected each with bytes of its own."
    ]
    first = raw.index(b"PK\x01\x02")
    path.write_bytes(raw[: first + 20] + struct.pack("<LL", 60, 60) + raw[first + 28 :])
    assert problems(path) == [
        f"member 'x' is '60 bytes from 0 on'; expected bytes of its own, before {offset}."
    ]


def test_encrypted_members(tmp_path):
    path = zipped(tmp_path / "a.zip", [("x", b"1")])
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert problems(path) == ["member 'x' is 'encrypted'; expected stored as it is."]


def test_zarr_reads_the_archive_itself(shelf):
    archive = Archive.open(shelf / "s.zarr.zip")
    store = archive.zarr()
    assert getattr(store, "read_only", None)
    assert (archive.consolidated, archive.at_once) == (False, 1)
