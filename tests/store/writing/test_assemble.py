"""Assembling: arrays are those of the unit files, whatever the cuts; changed files are named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from synthetic import FINGERPRINT, write_store
from synthetic_phase import block, fingerprint, outline

from qloc.canonical_json import canonical
from qloc.errors import StorageError, VerificationError
from qloc.store.integrity.check import layout_of
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema.zarr_arrays import stored
from qloc.store.units import ledger
from qloc.store.writing.assemble import assemble, consolidate, verified
from qloc.store.writing.phase_writer import PhaseWriter
from qloc.store.writing.writer import Writer


def test_changed_unit_file_is_named_when_finalizing(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        records = [writer.write(block("edits", unit)) for unit in writer.missing()]
        (copy / "appending/edits/units" / records[1].file).write_bytes(b"")
        with pytest.raises(VerificationError) as caught:
            writer.finalize()
    assert str(caught.value) == (
        f"unit file is '{records[1].file}'; expected sha256 {records[1].sha256}. "
        f"At {copy}/appending/edits/units. Run the same command again: the unit is redone."
    )
    assert verify(copy) == []


def test_rows_cross_units_chunks_and_shards(tmp_path, study, finished, monkeypatch):
    """The same values where a shard holds parts of several units, and a unit parts of several shards."""
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
    small = open_store(write_store(tmp_path / "s.zarr", study))
    assert len(list((tmp_path / "s.zarr/signals/attribution/c/0").iterdir())) > 2
    assert small.signals["attribution"].encoding["shards"]
    whole = open_store(finished)
    for group in ("facts", "queries", "signals", "attention", "grams", "statistics", "neurons"):
        assert getattr(small, group).load().identical(getattr(whole, group).load()), group


def test_unit_file_that_changes_before_finalizing_is_named(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        records = [writer.write(block) for block in study.blocks()]
        (store / "units" / records[2].file).write_bytes(b"")
        with pytest.raises(VerificationError) as caught:
            writer.finalize()
    assert str(caught.value) == (
        f"unit file is '{records[2].file}'; expected sha256 {records[2].sha256}. At {store}/units. "
        "Run the same command again: the unit is redone."
    )


def test_what_is_read_back_must_be_what_was_written(tmp_path, study, monkeypatch):
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT) as writer:
        for block in study.blocks():
            writer.write(block)
        monkeypatch.setattr("qloc.store.schema.zarr_arrays.same", lambda got, expected: False)
        with pytest.raises(
            StorageError, match=r"what was read back is 'different'; expected what was written. At "
        ):
            writer.finalize()


def records_of(store):
    return {record.number: record for record in ledger.records(store)}


def test_records_come_in_order_once_their_files_were_compared(recorded, tmp_path):
    layout, records = layout_of(recorded), records_of(recorded)
    backwards = dict(reversed(records.items()))
    assert [unit.number for unit in verified(recorded, layout, backwards)] == [0, 1, 2, 3]
    copied = Path(shutil.copytree(recorded, tmp_path / "s.zarr"))
    for number in (0, 3):
        (copied / "units" / records[number].file).unlink()
    with pytest.raises(VerificationError) as caught:
        verified(copied, layout, records)
    assert caught.value.problems == tuple(
        f"unit file is '{records[number].file}'; expected sha256 {records[number].sha256}. At {copied}/units. "
        "Run the same command again: the unit is redone."
        for number in (0, 3)
    )


def test_arrays_are_the_rows_of_the_units_one_behind_another(recorded, study, tmp_path):
    layout, records = layout_of(recorded), records_of(recorded)
    variables = [
        v
        for v in layout.variables()
        if v.path in ("queries/rank", "queries/prompt", "queries/fact", "signals/template")
    ]
    zarr.create_group(tmp_path / "s", zarr_format=3)
    other = np.arange(16, dtype=np.int32)
    assemble(
        tmp_path / "s", recorded, layout, [v for v in variables if v.name != "fact"], [*records.values()],
        attributes={"queries": {"why": "a test"}}, copied={},
    )  # fmt: skip
    blocks = study.blocks()
    for name in ("rank", "prompt"):
        expected = np.concatenate([block.queries[name] for block in blocks])
        assert stored(tmp_path / "s/queries" / name).tolist() == expected.tolist()
    attributes = json.loads((tmp_path / "s/queries/zarr.json").read_bytes())["attributes"]
    assert attributes["why"] == "a test"
    attributes = json.loads((tmp_path / "s/signals/zarr.json").read_bytes())["attributes"]
    assert attributes == {"coordinates": "fact relation template attribution_method"}
    zarr.create_group(tmp_path / "t", zarr_format=3)
    assemble(
        tmp_path / "t", recorded, layout, [v for v in variables if v.name == "fact"], [],
        attributes={}, copied={"queries/fact": other},
    )  # fmt: skip
    assert stored(tmp_path / "t/queries/fact").tolist() == other.tolist()


@pytest.mark.parametrize("chunk", [8, 12, 2**18])  # the unit fills its chunks, or does not
@pytest.mark.parametrize("which", [[0], [0, 1, 2, 3, 3]])
def test_other_numbers_of_rows_are_refused(recorded, tmp_path, monkeypatch, chunk, which):
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", chunk)
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", chunk)
    layout, records = layout_of(recorded), records_of(recorded)
    (rank,) = [v for v in layout.variables() if v.path == "queries/rank"]
    zarr.create_group(tmp_path / "s", zarr_format=3)
    units = [records[number] for number in which]
    with pytest.raises(StorageError) as caught:
        assemble(tmp_path / "s", recorded, layout, [rank], units, attributes={}, copied={})
    n_rows = sum(layout.units[number].n_queries for number in which)
    assert str(caught.value) == (
        f"rows of queries/rank is {n_rows}; expected 16. At {recorded}. Extract again into another --out."
    )


def test_consolidated_metadata_are_those_of_every_node(tmp_path):
    root = zarr.create_group(tmp_path / "s", zarr_format=3)
    for name in ("b", "a"):
        root.create_group(name).create_array("x", shape=(2,), dtype="int8")
    consolidate(tmp_path / "s")
    raw = (tmp_path / "s/zarr.json").read_bytes()
    assert raw == canonical(json.loads(raw))
    nodes = json.loads(raw)["consolidated_metadata"]["metadata"]
    assert sorted(nodes) == ["a", "a/x", "b", "b/x"]
    for name in ("a/x", "b/x"):
        own = (tmp_path / "s" / name / "zarr.json").read_bytes()
        assert own == canonical(nodes[name])
