"""The record of a shard survives a damaged file, by the units that the store has."""

from qloc.block import Shard
from qloc.store.units.shard_record import ShardRecord, note_run, settle_shard


def test_round_trip_and_runs(tmp_path):
    (tmp_path / "ledger").mkdir()
    assert ShardRecord.read(tmp_path) is None
    note_run(tmp_path, "signals", {})  # of no shard: nothing to note
    assert ShardRecord.read(tmp_path) is None
    part = Shard(number=2, of=3)
    settle_shard(tmp_path, part, ())
    for phase in ("signals", "edits"):
        note_run(tmp_path, phase, {"device": phase})
    expected = ShardRecord(shard=part, runs={"signals": {"device": "signals"}, "edits": {"device": "edits"}})
    assert ShardRecord.read(tmp_path) == expected


def test_a_damaged_record_is_written_again(tmp_path):
    part = Shard(number=2, of=3)
    (tmp_path / "ledger").mkdir()
    settle_shard(tmp_path, part, ())
    file = tmp_path / "ledger" / "shard.json"
    file.write_bytes(file.read_bytes().replace(b"2/3", b"1/3"))
    assert ShardRecord.read(tmp_path) is None
    settle_shard(tmp_path, part, (1, 4))
    assert ShardRecord.read(tmp_path) == ShardRecord(shard=part)
