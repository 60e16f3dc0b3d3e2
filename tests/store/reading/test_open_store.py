"""Opening: with xarray alone and through open_store; missing shards are told."""

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import xarray as xr
import zarr

from qloc.canonical_json import canonical, digest, file_digest
from qloc.errors import SchemaError, VerificationError
from qloc.store.files.durable import write_bytes
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest, variables

PLAIN = """
import sys
import xarray as xr
import zarr

store = sys.argv[1]
signals = xr.open_zarr(store, group="signals", consolidated=False)
first = signals["attribution"].sel(attribution_method="ig").isel(query=0).values
panel = signals["panel_neuron"].isel(fact=signals["fact"]).isel(query=0).values
assert (panel >= 0).sum() == (first == first).sum() > 0
for group in ("facts", "queries", "signals", "attention", "grams", "statistics", "neurons"):
    for consolidated in (False, None):
        xr.open_zarr(store, group=group, consolidated=consolidated).load()
tree = xr.open_datatree(store, engine="zarr")
print(sorted(tree.groups), tree.attrs["schema_version"])
print(dict(zarr.open_group(store, mode="r").members(max_depth=None)).keys() > {"signals/attribution"})
assert "qloc" not in sys.modules
"""


def test_xarray_alone_opens_it_without_help_or_warning(finished):
    done = forked.run(
        [sys.executable, "-W", "error", "-c", PLAIN, finished], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert (
        done.stdout
        == "['/', '/attention', '/facts', '/grams', '/neurons', '/queries', '/signals', '/statistics'] 1\nTrue\n"
    )


def is_text(variable):
    """Text of zarr; the lowest xarray that qloc allows reads it as objects, which may be anything else."""
    texts = variable.dtype.kind == "O" and all(type(value) is str for value in variable.values.flat)
    return variable.dtype.kind == "T" or texts


def test_variables_dims_and_types_are_those_of_the_table(finished):
    """The table of store.md, written out once more."""
    for group, expected in TABLE.items():
        opened = xr.open_zarr(finished, group=group, consolidated=False)
        got = {
            str(name): (variable.dims, "str" if is_text(variable) else str(variable.dtype))
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
        **dict.fromkeys(("count_above_floor", "n_nodes"), (MQL, "int32")),
        "error_bound": (MQL, "float32"),
        "converged": (MQL, "int8"),
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
    "neurons": {
        **dict.fromkeys(
            ("promoted_token_id", "suppressed_token_id"), (("layer", "neuron", "place"), "int32")
        ),
        "token": (("vocabulary",), "str"),
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
    assert opened.attention is not None
    for group in (opened.facts, opened.queries, opened.attention, opened.grams):
        assert all(variable.chunks is not None for variable in group.data_vars.values())
    pickle.loads(pickle.dumps(opened.signals)).load()


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


@pytest.fixture
def own(phased, tmp_path):
    """Return a store with both phases of the test's own."""
    return Path(shutil.copytree(phased, tmp_path / "s.zarr"))


def reseal(store, name):
    """Give a manifest that fits, as a stranger would, after one object was changed."""
    said = manifest.read(store)
    del said["sha256"]
    said["objects"][name] = {"sha256": file_digest(store / name), "size": (store / name).stat().st_size}
    (store / "manifest.json").write_bytes(canonical({**said, "sha256": digest(said)}))


@pytest.mark.parametrize(
    "path", ["grams/attribution_method", "signals/attribution_method", "interventions/operation"]
)
def test_labels_of_an_axis_are_those_of_the_layout(own, path):
    labels: Any = zarr.open_array(own / path, mode="r+")
    held = labels[...].tolist()
    labels[...] = np.array(["no such", *held[1:]], dtype=object)
    reseal(own, f"{path}/c/0")
    assert verify(own) == []
    with pytest.raises(SchemaError, match=f"^array {path} is .*'no such'.*; expected "):
        open_store(own)


def test_phase_of_a_later_version_is_passed_over(phased, own):
    """It is in the manifest, and verified byte by byte; what it means, this version need not know."""
    root = json.loads((own / "zarr.json").read_bytes())
    root["attributes"]["phases"]["dreams"] = {"whatever": 1}
    write_bytes(own / "zarr.json", canonical(root))
    reseal(own, "zarr.json")
    assert verify(own) == []
    edits, expected = open_store(own).edits, open_store(phased).edits
    assert edits is not None
    assert expected is not None
    assert edits.load().identical(expected.load())


def test_xarray_alone_reads_phases(phased):
    text = """
import sys, xarray as xr
tree = xr.open_datatree(sys.argv[1], engine="zarr")
print(sorted(tree.groups))
for group in ("interventions", "synapses", "synapse_views", "edits", "statistics", "neurons"):
    for consolidated in (False, None):
        xr.open_zarr(sys.argv[1], group=group, consolidated=consolidated).load()
print(float(tree["interventions"]["logit"].sel(operation="suppress", neuron_set="own").isel(query=3)))
assert "qloc" not in sys.modules
"""
    done = forked.run(
        [sys.executable, "-W", "error", "-c", text, phased], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    interventions = open_store(phased).interventions
    assert interventions is not None
    expected = interventions["logit"].to_numpy()[0, 0, 3]
    assert done.stdout == (
        "['/', '/attention', '/edits', '/facts', '/grams', '/interventions', '/neurons', '/queries', "
        f"'/signals', '/statistics', '/synapse_views', '/synapses']\n{float(expected)}\n"
    )
