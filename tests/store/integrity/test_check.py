"""Checks: what is no store, or lacks arrays of the schema, is refused with every problem."""

import dataclasses
import json
import os
import shutil

import pytest
import xarray as xr
import zarr
from synthetic import FINGERPRINT, Synthetic

from qloc.errors import SchemaError
from qloc.store.integrity.check import check, complete, is_store, layout_of, root_attributes
from qloc.store.reading.open_store import open_store
from qloc.store.schema.layout import Layout
from qloc.store.writing.writer import Writer

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
    (copy / "manifest.json").unlink()  # which else has the digest of the root
    (copy / "units").mkdir()
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
        layout_of(copy)
    assert str(caught.value) == f"layout is \"'units'\"; expected as qloc writes it. At {copy}. {GIVE}"


def test_truncated_hierarchy_is_refused_with_every_problem(copy):
    shutil.rmtree(copy / "grams")
    shutil.rmtree(copy / "queries" / "rank")
    (copy / "facts" / "id" / "zarr.json").write_bytes(b"")
    signals = zarr.open_group(copy, mode="r+", use_consolidated=False)["signals"]
    assert isinstance(signals, zarr.Group)
    signals.create_array(
        "total", shape=(2, 16), dtype="float64", overwrite=True, dimension_names=("query", "layer")
    )
    with pytest.raises(SchemaError) as caught:
        check(copy, layout_of(copy), whole=True)
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


def test_stores_are_told_from_what_is_none(finished, tmp_path, study):
    with Writer.open(tmp_path / "begun.zarr", study.outline(), FINGERPRINT):
        assert is_store(tmp_path / "begun.zarr")
        assert not complete(tmp_path / "begun.zarr")
    assert is_store(finished)
    assert complete(finished)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "list").mkdir()
    (tmp_path / "foreign/zarr.json").write_text('{"attributes": {"schema_version": 1, "layout": {}}}')
    (tmp_path / "list/zarr.json").write_text("[]")
    for name in ("file", "folder", "foreign", "list", "missing"):
        assert not is_store(tmp_path / name), name


def test_store_with_neither_manifest_nor_ledger_is_refused(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(SchemaError) as caught:
        complete(copy)
    assert str(caught.value) == (
        "store is 'without either'; expected manifest.json (complete) or ledger/ (being written). "
        f"At {copy}. {SOURCE}"
    )
    (copy / "ledger").mkdir()
    assert not complete(copy)


def test_attributes_and_layout_are_those_written(finished, study):
    outline = study.outline()
    expected = Layout.of(outline, tier="panel", floor=0.05, capacity=4096, store_dtype="float32")
    assert layout_of(finished) == expected
    attributes = root_attributes(finished)
    assert attributes["layout"] == expected.attrs()
    assert {name: attributes[name] for name in outline.attrs} == outline.attrs
    assert attributes["fingerprint"]["signals"]["made_from"] == FINGERPRINT


def test_every_array_is_compared_with_the_layout(finished):
    """One layer more: each array with layers is named, with what it has and what it should have."""
    layout = layout_of(finished)
    check(finished, layout, whole=True)
    other = dataclasses.replace(layout, sizes={**layout.sizes, "layer": 4})
    check(finished, other, whole=False)  # those of /facts have no layers
    with pytest.raises(SchemaError) as caught:
        check(finished, other, whole=True)
    with_layers = [variable.path for variable in layout.variables() if "layer" in variable.dims]
    assert len(with_layers) == 14
    assert [problem.split(" is ")[0] for problem in caught.value.problems] == [
        f"array {path}" for path in with_layers
    ]
    assert caught.value.problems[0] == (
        "array signals/maximum is 'float32 (attribution_method 2, query 16, layer 3)'; "
        f"expected float32 (attribution_method 2, query 16, layer 4). At {finished}. {SOURCE}"
    )


def test_in_an_unfinished_store_only_facts_are_compared(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT):
        layout = layout_of(store)
        check(store, layout, whole=False)
        with pytest.raises(SchemaError) as caught:
            check(store, layout, whole=True)
    assert len(caught.value.problems) == len(layout.variables())
    assert caught.value.problems[0] == (
        f"array queries/fact is 'missing'; expected an array of the schema. At {store}. {SOURCE}"
    )
    with pytest.raises(SchemaError):
        check(store, layout_of_other(store), whole=False)


def layout_of_other(store):
    """A layout with one fact more."""
    layout = layout_of(store)
    assert Synthetic().n_facts == layout.sizes["fact"]
    return dataclasses.replace(layout, sizes={**layout.sizes, "fact": 11})


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"]
)
def test_metadata_that_are_no_files_are_not_read(copy, make):
    path = copy / "signals/activation/zarr.json"
    path.unlink()
    make(path)
    with pytest.raises(SchemaError) as caught:
        check(copy, layout_of(copy), whole=True)
    assert str(caught.value) == (
        "metadata of array signals/activation is 'no ordinary file'; expected a file of the store. "
        f"At {copy}. Take the store from its source again."
    )
