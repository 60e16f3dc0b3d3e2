"""Contents: the array, cells, rows and units of every object, against counting row by row."""

from qloc.store.integrity.verify import verify


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_rows_and_units_of_a_shard_are_named(tmp_path, study, monkeypatch):
    from synthetic import write_store

    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
    store = write_store(tmp_path / "s.zarr", study)
    flip(store / "signals/attribution/c/0/1/0", 9)
    assert verify(store)[0].startswith("array signals/attribution, queries 6 to 11 (units 1 to 2) is 'sha256")
    (store / "zarr.json").write_bytes(b"")
    problems = verify(store)
    assert problems[0].startswith("array signals/attribution is 'sha256")
    assert problems[1].startswith("metadata of the root is '0 bytes'")
