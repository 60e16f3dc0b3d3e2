"""The manifest: what it lists, that its own sha256 guards it, and what of a stranger's is refused."""

import copy as copying
import hashlib
import json
import re
import shutil

import pytest

from qloc.canonical_json import canonical, digest
from qloc.errors import SchemaError, VerificationError
from qloc.store.files.place import Folder
from qloc.store.schema import manifest

BROKEN = "Take the store from its source again."
UNSAFE = "Do not use this store; take it from its source again."


def sealed(content):
    """The bytes of a manifest, computed apart from the module that is tested."""
    content = {key: value for key, value in content.items() if key != "sha256"}
    raw = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return canonical({**content, "sha256": hashlib.sha256(raw).hexdigest()})


@pytest.fixture(scope="module")
def content(finished):
    return manifest.read(finished)


def test_every_object_is_listed_with_its_size_and_sha256(finished, content):
    names = sorted(p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file())
    assert list(manifest.objects(finished)) == [name for name in names if name != "manifest.json"]
    assert content["objects"] == {
        name: {
            "sha256": hashlib.sha256((finished / name).read_bytes()).hexdigest(),
            "size": (finished / name).stat().st_size,
        }
        for name in names
        if name != "manifest.json"
    }
    assert content["metadata"] == json.loads((finished / "zarr.json").read_bytes())
    assert content["run"]["device"] == "cpu"
    assert set(content["libraries"]) == {"python", "numpy", "zarr"}
    assert (finished / "manifest.json").read_bytes() == sealed(content)


def test_folders_may_be_left_out_but_not_files_of_their_name(tmp_path):
    for name in ("units/a", "unitsx/a", "b/units/a", "ledger"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = manifest.objects(Folder(tmp_path), leave_out=("units", "ledger"))
    assert list(found) == ["b/units/a", "ledger", "unitsx/a"]


def test_writing_lists_what_is_there(tmp_path):
    (tmp_path / "zarr.json").write_bytes(b'{"zarr_format":3}')
    (tmp_path / "units").mkdir()
    (tmp_path / "units/a").write_bytes(b"left out")
    manifest.write(
        tmp_path, schema_version=1, run={"device": "cpu"}, notes={"3": {"batch": 8}}, leave_out=("units",)
    )
    found = manifest.read(tmp_path)
    assert found == {
        "libraries": manifest.libraries(),
        "metadata": {"zarr_format": 3},
        "notes": {"3": {"batch": 8}},
        "objects": {"zarr.json": {"sha256": hashlib.sha256(b'{"zarr_format":3}').hexdigest(), "size": 17}},
        "run": {"device": "cpu"},
        "schema_version": 1,
        "sha256": found["sha256"],
    }


def test_appending_changes_what_was_added_and_nothing_else(copy, content, tmp_path):
    added = tmp_path / "added"
    (added / "edits/x/c").mkdir(parents=True)
    (added / "edits/x/c/0").write_bytes(b"new")
    (added / "edits/.DS_Store").write_bytes(b"not ours")
    (added / "zarr.json").write_bytes(b'{"zarr_format":3,"more":1}')
    flipped = copy / "queries/rank/c/0"
    flipped.write_bytes(bytes(flipped.stat().st_size))  # damage that must still be told
    raw = manifest.appended(copy, added, "edits", run={"device": "gpu"}, notes={"0": "shrunk"})
    found = manifest.parsed(raw, copy / "manifest.json")
    expected = copying.deepcopy(content)
    expected["objects"]["edits/x/c/0"] = {"sha256": hashlib.sha256(b"new").hexdigest(), "size": 3}
    root = (added / "zarr.json").read_bytes()
    expected["objects"]["zarr.json"] = {"sha256": hashlib.sha256(root).hexdigest(), "size": len(root)}
    expected["metadata"] = json.loads(root)
    expected["notes"]["edits/0"] = "shrunk"
    expected["run"]["phases"] = {"edits": {"device": "gpu", "libraries": manifest.libraries()}}
    assert raw == sealed(expected)
    assert found["objects"]["queries/rank/c/0"] == content["objects"]["queries/rank/c/0"]
    assert manifest.read(copy) == content  # nothing has been written


def test_replacing_seals_it_anew(tmp_path, content):
    manifest.replace(tmp_path, {**content, "notes": {"a": 1}, "sha256": "whatever it was"})
    assert (tmp_path / "manifest.json").read_bytes() == sealed({**content, "notes": {"a": 1}})


def test_a_store_without_one_is_not_complete(tmp_path):
    with pytest.raises(VerificationError) as caught:
        manifest.read(tmp_path)
    assert str(caught.value) == (
        "manifest is 'No such file or directory'; expected a readable file, the last that an extraction writes. "
        f"At {tmp_path}/manifest.json. Run the extraction again to complete the store."
    )


def test_bytes_that_are_no_canonical_json(finished, content, tmp_path):
    path, raw = tmp_path / "manifest.json", (finished / "manifest.json").read_bytes()
    longer = raw + b"\n"
    for broken, got in (
        (raw[:-1], "JSONDecodeError"),
        (b"\xff" + raw, "UnicodeDecodeError"),
        (longer, f"{len(longer)} bytes with sha256 {hashlib.sha256(longer).hexdigest()}"),
        (b'{"a":NaN}', "ValueError"),
    ):
        with pytest.raises(VerificationError) as caught:
            manifest.parsed(broken, path)
        assert str(caught.value) == f"manifest is '{got}'; expected canonical JSON. At {path}. {BROKEN}"


@pytest.mark.parametrize(
    ("found", "got"),
    [([1, 2], "list"), ({"objects": {}}, "objects"), (7, "int")],
)
def test_json_that_is_no_manifest(tmp_path, found, got):
    with pytest.raises(VerificationError) as caught:
        manifest.parsed(canonical(found), tmp_path / "m")
    keys = "libraries, notes, objects, run, schema_version, sha256"
    assert str(caught.value) == f"manifest is '{got}'; expected the keys {keys}. At {tmp_path}/m. {BROKEN}"


def test_a_key_too_many_is_refused_but_old_ones_have_no_metadata(content, tmp_path):
    old = {key: value for key, value in content.items() if key != "metadata"}
    assert "metadata" not in manifest.parsed(sealed(old), tmp_path / "m")
    for changed in ({**content, "more": 1}, {**content, "metadata": []}):
        with pytest.raises(VerificationError, match="expected the keys"):
            manifest.parsed(sealed(changed), tmp_path / "m")


@pytest.mark.parametrize("key", ["libraries", "notes", "objects", "run", "schema_version", "metadata"])
def test_any_change_is_told_by_its_own_sha256(content, tmp_path, key):
    changed = {**content, key: {} if key != "schema_version" else 0}
    if key == "notes":
        changed[key] = {"0": "x"}
    with pytest.raises(VerificationError) as caught:
        manifest.parsed(canonical(changed), tmp_path / "m")
    del changed["sha256"]
    assert str(caught.value) == (
        f"sha256 of the manifest is '{digest(changed)}'; expected {content['sha256']}, as it says itself. "
        f"At {tmp_path}/m. {BROKEN}"
    )


def test_newer_schema_is_refused_whatever_else_is_in_it(tmp_path):
    with pytest.raises(
        SchemaError, match=r"^schema version is 9; .* Update qloc: qloc 7\.0 wrote this store"
    ):
        manifest.parsed(sealed({"schema_version": 9, "run": {"qloc": "7.0"}}), tmp_path / "m")
    with pytest.raises(VerificationError):  # a damaged number is no version
        manifest.parsed(canonical({"schema_version": 9, "sha256": "0" * 64}), tmp_path / "m")


RIGHT = {"sha256": "0" * 64, "size": 1}
RULE = "expected its sha256 in hex, and its size, at most 281474976710656 bytes"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", "C:\\x", "manifest.json", ""])
def test_names_that_lead_out_are_refused(content, tmp_path, name):
    with pytest.raises(VerificationError) as caught:
        manifest.parsed(sealed({**content, "objects": {name: RIGHT}}), tmp_path / "m")
    assert str(caught.value) == (
        f"name of an object is {name!r}; expected a path inside the store. At {tmp_path}/m. {UNSAFE}"
    )


@pytest.mark.parametrize(
    "entry",
    [
        7, {}, {**RIGHT, "more": 1}, {**RIGHT, "size": True}, {**RIGHT, "size": -1}, {**RIGHT, "size": 1.0},
        {**RIGHT, "size": 2**48 + 1}, {**RIGHT, "sha256": "0" * 63}, {**RIGHT, "sha256": "0" * 64 + "\n"},
        {**RIGHT, "sha256": "A" * 64}, {**RIGHT, "sha256": 0},
    ],
)  # fmt: skip
def test_entries_that_are_none_are_refused(content, tmp_path, entry):
    with pytest.raises(VerificationError) as caught:
        manifest.parsed(sealed({**content, "objects": {"a": entry}}), tmp_path / "m")
    assert re.fullmatch(rf"object 'a' is .*; {RULE}\. At {tmp_path}/m\. {UNSAFE}", str(caught.value), re.S)


def test_every_problem_of_the_objects_is_told_at_once(content, tmp_path):
    largest = {**RIGHT, "size": 2**48}
    objects = {"a": RIGHT, "a/b": largest, "../c": RIGHT, "d": {}}
    with pytest.raises(VerificationError) as caught:
        manifest.parsed(sealed({**content, "objects": objects}), tmp_path / "m")
    assert str(caught.value).split("\n") == [
        f"name of an object is '../c'; expected a path inside the store. At {tmp_path}/m. {UNSAFE}",
        f"object 'a' is 'a file and a folder'; expected one of them. At {tmp_path}/m. {UNSAFE}",
        f"object 'd' is {{}}; {RULE}. At {tmp_path}/m. {UNSAFE}",
    ]
    with pytest.raises(VerificationError) as caught:
        manifest.parsed(sealed({**content, "objects": ["a"]}), tmp_path / "m")
    assert str(caught.value) == (
        f"objects of the manifest is 'list'; expected an object's size by name. At {tmp_path}/m. {UNSAFE}"
    )


def test_a_place_is_read_as_its_folder_is(finished, tmp_path, content):
    store = shutil.copytree(finished, tmp_path / "s.zarr")
    assert manifest.read(Folder(store)) == content
