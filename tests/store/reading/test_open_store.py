"""Opening: with xarray alone, through open_store, unfinished, foreign, truncated."""

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
import zarr
from synthetic import FINGERPRINT

from qloc.errors import SchemaError, VerificationError
from qloc.store.reading.open_store import open_store
from qloc.store.schema import variables
from qloc.store.writing.writer import Writer

GIVE = "Give the path of a store that qloc extract wrote."
SOURCE = "Take the store from its source again."

PLAIN = """
import sys
import xarray as xr
import zarr

store = sys.argv[1]
signals = xr.open_zarr(store, group="signals", consolidated=False)
first = signals["attribution"].sel(attribution_method="ig").isel(query=0).values
panel = signals["panel_neuron"].isel(fact=signals["fact"]).isel(query=0).values
assert (panel >= 0).sum() == (first == first).sum() > 0
for group in ("facts", "queries", "signals", "attention", "grams", "statistics"):
    for consolidated in (False, None):
        xr.open_zarr(store, group=group, consolidated=consolidated).load()
tree = xr.open_datatree(store, engine="zarr")
print(sorted(tree.groups), tree.attrs["schema_version"])
print(dict(zarr.open_group(store, mode="r").members(max_depth=None)).keys() > {"signals/attribution"})
assert "qloc" not in sys.modules
"""


def test_xarray_alone_opens_it_without_help_or_warning(finished):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PLAIN, finished], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert (
        done.stdout
        == "['/', '/attention', '/facts', '/grams', '/queries', '/signals', '/statistics'] 1\nTrue\n"
    )


def test_variables_dims_and_types_are_those_of_the_table(finished):
    """The table of store.md, written out once more."""
    for group, expected in TABLE.items():
        opened = xr.open_zarr(finished, group=group, consolidated=False)
        got = {
            str(name): (variable.dims, "str" if variable.dtype.kind == "T" else str(variable.dtype))
            for name, variable in opened.variables.items()
        }
        assert got == expected, group
    coordinates = {"fact", "relation", "template", "attribution_method"}
    assert set(xr.open_zarr(finished, group="signals", consolidated=False).coords) == coordinates


Q, MQL, QLHT = ("query",), ("attribution_method", "query", "layer"), ("query", "layer", "head", "token")
MFKK = ("attribution_method", "fact", "query_of_fact", "query_of_fact_")
METHOD = {"attribution_method": (("attribution_method",), "str")}
TABLE = {
    "queries": {
        **dict.fromkeys(("fact", "rank", "argmax"), (Q, "int32")),
        **dict.fromkeys(("template", "relation", "prompt", "answer", "kind"), (Q, "str")),
        **dict.fromkeys(
            ("answer_token_id", "target_position", "token_rank"), (("query", "answer_token"), "int32")
        ),
        "token_log_probability": (("query", "answer_token"), "float32"),
        **dict.fromkeys(("log_probability", "bad_log_probability"), (Q, "float32")),
        "known": (Q, "int8"),
        "top_token_id": (("query", "top"), "int32"),
        "top_log_probability": (("query", "top"), "float32"),
        "candidate_log_probability": (("query", "candidate"), "float32"),
    },
    "facts": {
        **dict.fromkeys(("id", "subject", "relation", "object", "feature", "source"), (("fact",), "str")),
        **dict.fromkeys(("first_query", "n_queries", "n_objects"), (("fact",), "int32")),
        "leaks": (("fact",), "int8"),
        "count": (("fact",), "float64"),
    },
    "signals": {
        "attribution": (("attribution_method", "query", "slot"), "float32"),
        **dict.fromkeys(("activation", "gradient"), (("query", "slot"), "float32")),
        "panel_neuron": (("fact", "slot"), "int32"),
        "panel_floor": (("fact",), "float64"),
        **dict.fromkeys(("maximum", "total", "completeness_gap"), (MQL, "float32")),
        "count_above_floor": (MQL, "int32"),
        "fact": (Q, "int32"),
        **dict.fromkeys(("relation", "template"), (Q, "str")),
        **METHOD,
    },
    "attention": {
        **dict.fromkeys(("target_row", "column_mass", "column_mass_no_sink"), (QLHT, "float16")),
        "length": (Q, "int32"),
    },
    "grams": {**dict.fromkeys(("gram", "null_gram"), (MFKK, "float64")), **METHOD},
    "statistics": {
        **dict.fromkeys(
            ("activation_sum", "activation_square_sum"), (("relation", "layer", "neuron"), "float32")
        ),
        "n_queries": (("relation",), "int32"),
        "relation": (("relation",), "str"),
    },
}


def test_each_chunk_has_a_checksum(finished):
    arrays = [
        node for _, node in zarr.open_group(finished, mode="r").members(None) if isinstance(node, zarr.Array)
    ]
    for array in arrays:
        assert [type(codec).__name__ for codec in array.compressors] == ["ZstdCodec", "Crc32cCodec"]


def test_missing_values():
    assert np.isnan(variables.missing("float32"))
    assert variables.missing("int8") == -1
    assert variables.missing("string") == ""


def test_reading_is_lazy(finished):
    opened = open_store(finished)
    for group in (opened.facts, opened.queries, opened.attention, opened.grams):
        assert all(variable.chunks is not None for variable in group.data_vars.values())
    pickle.loads(pickle.dumps(opened.signals)).load()


def test_unfinished_store_is_a_smaller_study(tmp_path, study, finished):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        nothing = open_store(store)
        assert (nothing.complete, len(nothing.missing)) == (False, 4)
        assert nothing.queries.sizes["query"] == 0
        assert np.isnan(nothing.floors).all()
        for number in (3, 1):
            writer.write(study.blocks()[number])
        half = open_store(store)
    whole = open_store(finished)
    assert [unit.number for unit in half.missing] == [0, 2]
    rows = [query for unit in (1, 3) for query in range(*queries_of(study, unit))]
    for group in ("queries", "attention"):
        assert getattr(half, group).load().equals(getattr(whole, group).isel(query=rows).load())
    assert half.facts["n_queries"].to_numpy().tolist() == [0, 0, 0, 0, 2, 3, 0, 0, 0, 1]
    assert half.facts["first_query"].to_numpy().tolist() == [-1, -1, -1, -1, 0, 2, -1, -1, -1, 5]
    n_slots = half.signals.sizes["slot"]
    signals, expected = half.signals.load(), whole.signals.isel(query=rows, slot=slice(n_slots)).load()
    there = [3, 4, 5, 9]
    assert signals.isel(fact=there).equals(expected.isel(fact=there))
    assert (signals["panel_neuron"].isel(fact=[0, 1, 2, 6, 7, 8]) == -1).all()
    np.testing.assert_array_equal(np.isnan(half.floors), half.facts["n_queries"] == 0)
    assert half.grams.isel(fact=there).load().equals(whole.grams.isel(fact=there).load())
    one = half.signals["attribution"].isel(query=[5, 0, 0], attribution_method=0)
    np.testing.assert_array_equal(one, signals["attribution"].isel(query=[5, 0, 0], attribution_method=0))
    np.testing.assert_array_equal(half.signals["activation"][-1, ::-2], signals["activation"][-1, ::-2])


def queries_of(study, number):
    unit = study.outline().units[number]
    return unit.first_query, unit.last_query


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


def test_missing_shard_is_told_and_not_read_as_missing_values(copy):
    """What an interrupted copy leaves: zarr reads NaN, without an error."""
    path = copy / "signals/attribution/c/0/0/0"
    size = path.stat().st_size
    path.unlink()
    assert np.isnan(xr.open_zarr(copy, group="signals", consolidated=False)["attribution"][0]).all()
    with pytest.raises(VerificationError) as caught:
        open_store(copy)
    assert caught.value.problems == (
        f"array signals/attribution, queries 0 to 15 (units 0 to 3) is 'missing'; "
        f"expected {size} bytes. At {path}. "
        "Run qloc store repair on the store.",
    )


def test_no_pickle_is_ever_loaded(tmp_path, study):
    """A unit that holds a pickle is data that does not verify; forced in, numpy refuses it."""
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        unit = writer.write(study.blocks()[0])
        with (store / "units" / unit.file).open("wb") as target:
            np.savez(target, **{"queries/rank": np.array([{"a": 1}], dtype=object)})
        assert open_store(store).queries.sizes["query"] == 0
