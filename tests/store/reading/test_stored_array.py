"""Arrays that cannot be read: told by array and chunk as verify tells them, wherever the damage is."""

import numpy as np
import pytest
from synthetic import write_store

from qloc.errors import VerificationError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import GROUPS, open_store


def flip(path):
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def read(store):
    opened = open_store(store)
    for name in GROUPS:
        group = getattr(opened, name)
        if group is not None:
            group.load()
            [np.asarray(variable) for variable in group.variables.values()]


def test_a_flipped_bit_is_told_by_array_and_chunk(copy):
    """One object of every fourth array, labels among them."""
    chunks = [
        next(path for path in sorted(array.rglob("*")) if path.is_file()) for array in copy.glob("*/*/c")
    ]
    assert len(chunks) > 30
    for path in [*chunks[::4], copy / "signals/attribution_method/c/0"]:
        sound = path.read_bytes()
        flip(path)
        with pytest.raises(VerificationError) as caught:
            read(copy)
        assert caught.value.problems == tuple(verify(copy)), path
        assert str(path) in str(caught.value)
        assert str(caught.value).endswith("Run qloc store repair on the store.")
        path.write_bytes(sound)
    read(copy)


def test_only_what_is_read_is_compared(tmp_path, study, monkeypatch):
    """The last shard of an array is damaged; the first is read as ever."""
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
    store = write_store(tmp_path / "s.zarr", study)
    shards = [path for path in (store / "signals/activation/c").rglob("*") if path.is_file()]
    assert len(shards) > 1
    flip(max(shards, key=lambda path: [int(number) for number in path.parts[-2:]]))
    activation = open_store(store).signals["activation"]
    activation[:1].compute()
    with pytest.raises(VerificationError) as caught:
        activation[12:].compute()  # the last shard, of rows 12 to 15
    assert caught.value.problems == tuple(verify(store))


def test_where_the_manifest_is_gone_too_the_array_is_named(copy):
    opened = open_store(copy)
    path = next(path for path in sorted((copy / "signals" / "maximum" / "c").rglob("*")) if path.is_file())
    flip(path)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(VerificationError) as caught:
        opened.signals["maximum"].load()
    message = str(caught.value)
    assert message.startswith(
        'array signals/maximum is "unreadable (ValueError: Stored and computed checksum'
    )
    assert message.endswith(f"expected what qloc wrote. At {copy}. Run qloc store verify on the store.")


def test_single_indices_are_read_as_slices_are(finished):
    """Also of one method, whose panels have empty slots: dask asks for such a region without the axis."""
    whole = open_store(finished).signals["attribution"].to_numpy()
    assert np.isnan(whole).any()
    attribution = open_store(finished).signals["attribution"]
    np.testing.assert_array_equal(attribution[1].compute(), whole[1])
    np.testing.assert_array_equal(attribution[0, 3].compute(), whole[0, 3])
    np.testing.assert_array_equal(attribution[:, 2, -1].compute(), whole[:, 2, -1])
    np.testing.assert_array_equal(attribution[:, -1, ::2].compute(), whole[:, -1, ::2])
