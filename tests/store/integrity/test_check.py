"""Checks: what is no store, or lacks arrays of the schema, is refused with every problem."""

import json
import shutil

import pytest
import xarray as xr
import zarr

from qloc.errors import SchemaError
from qloc.store.reading.open_store import open_store

GIVE = "Give the path of a store that qloc extract wrote."


SOURCE = "Take the store from its source again."


def test_path_that_is_not_there(tmp_path):
    with pytest.raises(SchemaError) as caught:
        open_store(tmp_path / "no.zarr")
    assert str(caught.value) == (
        "zarr.json is 'No such file or directory'; expected the root of a Zarr v3 hierarchy. "
        f"At {tmp_path}/no.zarr. {GIVE}"
    )


def test_foreign_zarr(tmp_path):
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "foreign.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(SchemaError) as caught:
        open_store(tmp_path / "foreign.zarr")
    assert str(caught.value) == (
        'Zarr hierarchy is "another program\'s"; '
        "expected root attributes schema_version, fingerprint, layout. "
        f"At {tmp_path}/foreign.zarr. {GIVE}"
    )


def test_root_cut_short(copy):
    (copy / "zarr.json").write_bytes((copy / "zarr.json").read_bytes()[:20])
    with pytest.raises(SchemaError) as caught:
        open_store(copy)
    assert str(caught.value) == (
        "zarr.json is 'no JSON: Unterminated string starting at: line 1 column 16 (char 15)'; "
        f"expected the root of a Zarr v3 hierarchy. At {copy}. {GIVE}"
    )


def change_root(store, change):
    root = json.loads((store / "zarr.json").read_bytes())
    change(root["attributes"])
    (store / "zarr.json").write_text(json.dumps(root))


def test_layout_that_is_none(copy):
    change_root(copy, lambda attributes: attributes["layout"].pop("units"))
    with pytest.raises(SchemaError) as caught:
        open_store(copy)
    assert str(caught.value) == f"layout is \"'units'\"; expected as qloc writes it. At {copy}. {GIVE}"


def test_truncated_hierarchy_is_refused_with_every_problem(copy):
    shutil.rmtree(copy / "grams")
    shutil.rmtree(copy / "queries" / "rank")
    (copy / "facts" / "id" / "zarr.json").write_bytes(b"")
    array = zarr.open_group(copy, mode="r+", use_consolidated=False)["signals"]
    array.create_array(
        "total", shape=(2, 16), dtype="float64", overwrite=True, dimension_names=("query", "layer")
    )
    with pytest.raises(SchemaError) as caught:
        open_store(copy)
    assert caught.value.problems == (
        f"array facts/id is 'unreadable (Expecting value: line 1 column 1 (char 0))'; "
        f"expected an array of the schema. At {copy}. {SOURCE}",
        f"array queries/rank is 'missing'; expected an array of the schema. At {copy}. {SOURCE}",
        f"array grams/gram is 'missing'; expected an array of the schema. At {copy}. {SOURCE}",
        f"array grams/null_gram is 'missing'; expected an array of the schema. At {copy}. {SOURCE}",
        f"array grams/attribution_method is 'missing'; expected an array of the schema. At {copy}. {SOURCE}",
        "array signals/total is 'float64 (query 2, layer 16)'; "
        "expected float32 (attribution_method 2, query 16, "
        f"layer 3). At {copy}. {SOURCE}",
    )
