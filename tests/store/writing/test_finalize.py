"""Finalizing: the same bytes whatever run it was and wherever it was interrupted; no working files stay."""

import json
import shutil
from pathlib import Path

import pytest
from synthetic import FINGERPRINT

from qloc.canonical_json import canonical
from qloc.store.integrity.check import layout_of
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest
from qloc.store.units import ledger
from qloc.store.writing.finalize import finalize_store, remove_working
from qloc.store.writing.writer import Writer


def objects(store):
    """Every object's digest: equal ones mean equal bytes, arrays and metadata alike."""
    return manifest.read(store)["objects"]


def test_finished_store_holds_no_working_files_and_is_not_written_again(copy, study):
    assert sorted(p.name for p in copy.iterdir()) == [
        "README.md", "attention", "facts", "grams", "manifest.json", "neurons", "queries", "signals",
        "statistics", "zarr.json",
    ]  # fmt: skip
    before = (copy / "manifest.json").read_bytes()
    with Writer.open(copy, study.outline(), FINGERPRINT) as writer:
        assert writer.complete
        assert writer.missing() == ()
        writer.finalize()
    assert (copy / "manifest.json").read_bytes() == before
    assert verify(copy) == []


def test_nothing_run_dependent_is_outside_the_manifest(finished, tmp_path, study):
    with Writer.open(tmp_path / "elsewhere.zarr", study.outline(), FINGERPRINT) as writer:
        for unit in reversed(writer.missing()):
            writer.write(study.block(unit), notes={"shrunk": True} if unit.number == 2 else {})
        writer.finalize({"device": "cuda:0", "began": "2026-01-01T00:00:00Z"})
    there = manifest.read(tmp_path / "elsewhere.zarr")
    assert there["objects"] == objects(finished)
    assert there["notes"] == {"2": {"shrunk": True}}
    assert there["run"]["device"] == "cuda:0"
    assert list(there)[-1] == "sha256"
    root = (finished / "zarr.json").read_bytes()  # a file system's order of names is not in it
    assert root == canonical(json.loads(root))


@pytest.mark.parametrize("backwards", [False, True], ids=["parents first", "children first"])
def test_prefixes_of_assembling_are_gone_on_with(tmp_path, as_far_as, study, finished, backwards):
    begun, store = tmp_path / "begun.zarr", tmp_path / "s.zarr"
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
    groups = [path for path in finished.iterdir() if path.is_dir() and path.name != "facts"]
    names = sorted(
        (p.relative_to(finished).as_posix() for group in groups for p in (group, *group.rglob("*"))),
        reverse=backwards,
    )
    for n in range(1 + 30 * backwards, len(names), 61):
        shutil.copytree(begun, store)
        as_far_as(n, finished, names, store)
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            writer.finalize()
        assert manifest.read(store)["objects"] == manifest.read(finished)["objects"], names[:n]
        shutil.rmtree(store)


def test_nothing_comes_late_where_assembling_fails(late, tmp_path, study, finished):
    """Else, run again at once, it met groups: zarr's ContainsGroupError."""
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        late(store / "zarr.json", writer.finalize)
        writer.finalize()
    assert manifest.read(store)["objects"] == manifest.read(finished)["objects"]


def test_units_become_the_store(recorded, finished, tmp_path):
    """Half-made groups and partial files of an earlier try are made anew; no working file stays."""
    store = Path(shutil.copytree(recorded, tmp_path / "s.zarr"))
    (store / "signals/other/c").mkdir(parents=True)
    (store / "ab12.partial").write_bytes(b"half")
    records = {record.number: record for record in ledger.records(store)}
    finalize_store(store, layout_of(store), records, {"device": "cpu"})
    assert (store / "manifest.json").read_bytes() == (finished / "manifest.json").read_bytes()
    assert verify(store) == []


def test_working_files_are_removed_and_nothing_else(recorded, tmp_path):
    store = Path(shutil.copytree(recorded, tmp_path / "s.zarr"))
    before = {path.name for path in store.iterdir()}
    remove_working(store)
    assert before - {path.name for path in store.iterdir()} == {"units", "ledger"}
    remove_working(store)  # again does no harm
