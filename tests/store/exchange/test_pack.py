"""pack and unpack: equal bytes, and nothing half done. Hostile archives: tests/store/places/test_zip_archive.py."""

import os
import re
import shutil
import signal
import sys
import warnings
import zipfile

import forked
import pytest
from synthetic import FINGERPRINT

from qloc.errors import InputError, LockedError, StorageError, VerificationError
from qloc.store.exchange import pack as pack_module
from qloc.store.exchange.pack import pack, unpack
from qloc.store.files.staging import folder_aside
from qloc.store.integrity.verify import verify
from qloc.store.reading.info import info
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.writing.writer import Writer


@pytest.fixture(scope="module")
def packed(finished, tmp_path_factory):
    return pack(finished, tmp_path_factory.mktemp("packed") / "s.zarr.zip")


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_round_trip_gives_the_same_bytes(finished, packed, tmp_path):
    made = unpack(packed, tmp_path / "again.zarr")
    assert contents(made) == contents(finished)
    assert verify(made) == []
    assert pack(made) == tmp_path / "again.zarr.zip"
    assert (tmp_path / "again.zarr.zip").read_bytes() == packed.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.zarr", "again.zarr.zip"]


def test_members_are_sorted_stored_and_without_times(packed):
    infos = zipfile.ZipFile(packed).infolist()
    assert [i.filename for i in infos] == sorted(i.filename for i in infos)
    assert {(i.compress_type, i.date_time, i.create_system) for i in infos} == {(0, (1980, 1, 1, 0, 0, 0), 3)}
    assert {"manifest.json", "README.md", "zarr.json"} < {i.filename for i in infos}


def test_read_in_place(finished, packed):
    whole, opened = open_store(finished), open_store(packed)
    assert opened.complete
    assert opened.path == packed
    for group in ("facts", "queries", "signals", "attention", "grams", "statistics", "neurons"):
        assert getattr(opened, group).load().identical(getattr(whole, group).load()), group
    assert verify(packed) == []
    told = info(packed)
    assert told | {"path": ""} == info(finished) | {"path": ""}


def test_xarray_alone_reads_it_in_place(finished, packed):
    program = (
        "import sys, xarray as xr, zarr\n"
        "s = xr.open_zarr(zarr.storage.ZipStore(sys.argv[1]), group='signals', consolidated=False)\n"
        "t = xr.open_zarr(sys.argv[2], group='signals', consolidated=False)\n"
        "assert s.load().identical(t.load()) and 'qloc' not in sys.modules\n"
    )
    done = forked.run(
        [sys.executable, "-W", "error", "-c", program, packed, finished], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_only_complete_stores_that_verify_are_packed(copy, tmp_path, study):
    with Writer.open(tmp_path / "half.zarr", study.outline(), FINGERPRINT):
        pass
    with pytest.raises(VerificationError) as caught:
        pack(tmp_path / "half.zarr")
    assert str(caught.value) == (
        "manifest is 'No such file or directory'; expected a readable file, the last that an extraction "
        f"writes. At {tmp_path}/half.zarr/manifest.json. Run the extraction again to complete the store."
    )
    (copy / "queries/rank/c/0").write_bytes(b"")
    (copy / "more").write_bytes(b"")
    with pytest.raises(VerificationError) as caught:
        pack(copy)
    assert len(caught.value.problems) == 2
    assert not list(tmp_path.glob("*.zip")) + list(tmp_path.glob(".*"))


def test_nothing_is_overwritten(finished, packed, tmp_path):
    (tmp_path / "there").write_bytes(b"x")
    for made in (lambda: pack(finished, tmp_path / "there"), lambda: unpack(packed, tmp_path / "there")):
        with pytest.raises(InputError) as caught:
            made()
        assert str(caught.value) == (
            f"path is 'there already'; expected nothing yet. At {tmp_path}/there. Give another OUT."
        )
    with pytest.raises(InputError) as caught:
        pack(finished, tmp_path / "no" / "s.zip")
    assert str(caught.value) == (
        f"folder is 'missing'; expected a folder to write into. At {tmp_path}/no. Make it."
    )
    with pytest.raises(InputError) as caught:
        pack(packed)
    assert str(caught.value) == (
        f"store is 'a file'; expected a store's folder. At {packed}. Give the folder that is to be packed."
    )
    shutil.copy(packed, tmp_path / "s.archive")
    with pytest.raises(InputError) as caught:
        unpack(tmp_path / "s.archive")
    assert str(caught.value) == (
        f"name of the archive is 's.archive'; expected one ending in .zip. At {tmp_path}/s.archive. "
        "Give OUT, the store's path."
    )


def members(packed):
    with zipfile.ZipFile(packed) as source:
        return {name: source.read(name) for name in source.namelist()}


def write_zip(path, entries, kind=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", kind) as target:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            target.writestr(name, content)
    return path


# Half done


KILLED = """
import os, signal, sys, zipfile
from pathlib import Path
from qloc.store.exchange import pack
n, (command, path, out) = int(sys.argv[1]), sys.argv[2:]
done = 0
def counting(step):
    def counted(*args, **kwargs):
        global done
        done += 1
        if done > n:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **kwargs)
    return counted
for module, name in ((os, "fsync"), (os, "rename"), (os, "mkdir")):
    setattr(module, name, counting(getattr(module, name)))
getattr(pack, command)(path, out)
"""


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_killed_midway_nothing_is_half_done(finished, packed, tmp_path, command):
    given, out = (finished, tmp_path / "out.zip") if command == "pack" else (packed, tmp_path / "out.zarr")
    for n in (0, 1) if command == "pack" else (4, 60):
        done = forked.run([sys.executable, "-c", KILLED, str(n), command, str(given), str(out)])
        assert done.returncode == -signal.SIGKILL
        assert not out.exists()
        assert [p.name for p in tmp_path.iterdir()] == [f".{out.name}.partial"]
    {"pack": pack, "unpack": unpack}[command](given, out)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    assert verify(out) == []


def test_full_disk_leaves_nothing(finished, packed, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for made in (lambda: pack(finished, tmp_path / "out.zip"), lambda: unpack(packed, tmp_path / "out")):
        with pytest.raises(StorageError, match=r"writing is 'No space left on device'; expected a disk "):
            made()
    assert list(tmp_path.iterdir()) == []


def test_second_process_is_refused(packed, tmp_path):
    out = tmp_path / "out.zarr"
    with folder_aside(out) as aside:
        (aside / "x").touch()
        with pytest.raises(LockedError) as caught:
            unpack(packed, out)
        assert (aside / "x").exists()
    assert str(caught.value) == (
        f"path is 'being written'; expected no other process writing it. At {out}. "
        "Wait for it to end, or stop it."
    )


def test_member_that_changes_while_it_is_unpacked(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("qloc.store.exchange.pack.verify", lambda source: [])
    found = members(packed)
    found["README.md"] = b"other"
    at = write_zip(tmp_path / "s.zip", found.items())
    with pytest.raises(VerificationError, match=r"^member 'README.md' is '[0-9a-f]{64}'; expected sha256 "):
        unpack(at, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zip"]


@pytest.mark.parametrize("name", ["README.md", "signals/activation/zarr.json", "manifest.json"])
def test_what_changes_while_it_is_packed_is_told(copy, tmp_path, monkeypatch, name):
    add = pack_module._add

    def changed(target, path, member):
        if member == name:
            path.write_bytes(path.read_bytes() + b" ")
        return add(target, path, member)

    monkeypatch.setattr(pack_module, "_add", changed)
    with pytest.raises(VerificationError) as caught:
        pack(copy, tmp_path / "s.zip")
    assert re.fullmatch(
        f"object {name} is 'sha256 [0-9a-f]{{64}}'; expected sha256 [0-9a-f]{{64}}, as verified. "
        f"At {copy}. Pack it while nothing writes to it.",
        str(caught.value),
    )
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_phases_are_packed_and_unpacked(phased, tmp_path):
    packed = pack(phased, tmp_path / "s.zarr.zip")
    opened, whole = open_store(packed), open_store(phased)
    for group in ("interventions", "synapses", "edits", "statistics"):
        assert getattr(opened, group).load().identical(getattr(whole, group).load())
    assert manifest.read(unpack(packed, tmp_path / "u.zarr")) == manifest.read(phased)


def test_an_archive_is_known_by_its_name(finished, tmp_path):
    with pytest.raises(InputError) as caught:
        pack(finished, tmp_path / "study.packed")
    assert str(caught.value) == (
        f"archive is 'study.packed'; expected a name that ends in .zip. At {tmp_path / 'study.packed'}. "
        "Give a name such as study.zarr.zip."
    )
