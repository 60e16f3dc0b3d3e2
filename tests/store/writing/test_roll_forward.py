"""Rolling forward: a store with every unit is completed without its model; others are refused."""

import pytest
from synthetic import FINGERPRINT

from qloc.errors import InputError, LockedError, SchemaError
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest
from qloc.store.writing.roll_forward import roll_forward
from qloc.store.writing.writer import Writer


def test_a_store_with_every_unit_is_completed_without_a_model(tmp_path, study, finished):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing()[:3]:
            writer.write(study.block(unit))
    with pytest.raises(InputError) as caught:
        roll_forward(store, {})
    assert str(caught.value) == (
        "number of missing units is 1; expected 0 of 4 in a store that is to be completed without its model. "
        f"At {store}. Run the qloc extract command that began it, which goes on where it was."
    )
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        writer.write(study.block(writer.missing()[0]))
        with pytest.raises(LockedError):
            roll_forward(store, {})
    (store / "signals").mkdir()  # as far as assembling got
    (store / "signals" / "zarr.json").write_bytes(b"half")
    roll_forward(store, {"device": "none"})
    assert manifest.read(store)["objects"] == manifest.read(finished)["objects"]
    assert manifest.read(store)["run"] == {"device": "none"}
    assert verify(store) == []


def test_what_is_no_store_is_not_completed(tmp_path):
    with pytest.raises(SchemaError):
        roll_forward(tmp_path, {})
