"""Assembling: arrays are those of the unit files, whatever the cuts; changed files are named."""

import pytest
from synthetic import FINGERPRINT, write_store
from synthetic_phase import block, fingerprint, outline

from qloc.errors import StorageError, VerificationError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
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
    for group in ("facts", "queries", "signals", "attention", "grams", "statistics"):
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
