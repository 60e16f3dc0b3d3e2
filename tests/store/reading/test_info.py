"""info: what a store holds and allows, as data and as text."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import FINGERPRINT, Synthetic, write_older_store, write_store

from qloc.store.integrity.verify import verify
from qloc.store.reading.info import _made, _made_words, info, info_text
from qloc.store.reading.open_store import open_store
from qloc.store.schema.variables import ERROR_BOUNDS
from qloc.store.writing.writer import Writer


def test_info_counts_what_is_there(finished):
    found = info(finished)
    size = sum(path.stat().st_size for path in finished.rglob("*") if path.is_file())
    assert found["complete"]
    assert found["facts"] == {"all": 10, "with queries": 8}
    assert found["queries"]["written"] == 16
    assert found["relations"] == ["P36", "P37"]
    assert found["bytes"]["all"] == size - (finished / "manifest.json").stat().st_size
    assert found["bytes"]["dense"] == (2 + 2) * 16 * 3 * 40 * 4
    assert found["attributes"]["excluded"] == {"words after [Y]": 2}
    assert found["panel"]["facts over capacity"] == 0
    assert found["run"] == {"device": "cpu"}


def of_paths(blocks, methods):
    """Return what info says of the paths in blocks, counted here once more."""
    said, affected = "", ""
    for number, method in enumerate(methods):
        n_nodes, bound, converged = (
            np.concatenate([getattr(block, name)[number] for block in blocks])
            for name in ("n_nodes", "error_bound", "converged")
        )
        failed = converged == 0
        said += (
            f"; {method}: {failed.sum()} of {failed.size} query–layer paths did not converge, largest error bound "
            f"{bound.max():.2g}, gradients a layer {n_nodes.mean():.1f} mean, {n_nodes.max()} most"
        )
        affected += (
            f"                {method}: the sets of {failed.any(axis=1).sum()} queries may be wrong, and what is "
            "computed from them: consistency, overlap, layers, effects of interventions and edits "
            "(docs/extraction.md#quadrature). Answers, behavioural consistency and attention do not depend on "
            "paths\n"
        )
    return f"{said}\n{affected}"


def with_paths(n_nodes, error_bound, converged, **attributes):
    """Return a made-up study of one method whose paths all have the given numbers."""

    class Made(Synthetic):
        def outline(self):
            outline = super().outline()
            return replace(outline, attrs={**outline.attrs, **attributes})

        def block(self, unit):
            block = super().block(unit)
            shape = block.n_nodes.shape
            return replace(
                block,
                n_nodes=np.full(shape, n_nodes, np.int32),
                error_bound=np.full(shape, error_bound, np.float32),
                converged=np.full(shape, converged, np.int8),
            )

    return Made(n_facts=3, methods=("ig",))


CERTIFIED = {"quadrature": "certified", "quadrature_error": 0.001}


@pytest.mark.parametrize(
    ("numbers", "attributes", "line"),
    [
        (
            (8, 0.0005, 1),
            {**CERTIFIED, "dtype": "float32"},
            "certified, error bound ≤ 0.001 of each query's largest; ig: 0 of 18 query–layer paths did not "
            "converge, largest error bound 0.0005, gradients a layer 8.0 mean, 8 most",
        ),
        (
            (8, 0.03, 1),
            {**CERTIFIED, "dtype": "bfloat16"},
            "certified, error bound ≤ 0.03125 of each query's largest (0.001 asked; bfloat16 allows no finer); "
            "ig: 0 of 18 query–layer paths did not converge, largest error bound 0.03, gradients a layer 8.0 "
            "mean, 8 most",
        ),
        (
            (20, np.nan, -1),
            {"quadrature": "midpoint", "steps": 20},
            "midpoint 20: no error bound; ig: gradients a layer 20.0 mean, 20 most",
        ),
        ((0, np.nan, -1), {}, "none: nothing was integrated along a path"),
    ],
)
def test_the_rule_and_its_bound_are_told(tmp_path, numbers, attributes, line):
    store = write_store(tmp_path / "s.zarr", with_paths(*numbers, **attributes))
    assert f"  quadrature    {line}\n  allows\n" in info_text(info(store), width=1000)


def test_an_older_store_says_nothing_of_its_paths(tmp_path):
    study = with_paths(20, np.nan, -1, quadrature="midpoint", steps=20)
    store = write_older_store(tmp_path / "s.zarr", study)
    assert not [path.name for path in (store / "signals").iterdir() if path.name in ERROR_BOUNDS]
    assert verify(store) == []
    assert "  quadrature    midpoint 20: no error bound\n  allows\n" in info_text(info(store))
    assert info(store)["quadrature"]["methods"]["ig"] == {
        "paths": 0,
        "not converged": None,
        "queries not converged": None,
        "largest bound": None,
        "mean gradients": None,
        "most gradients": None,
    }


def test_text_of_an_unfinished_store_that_overflows(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT, capacity=4) as writer:
        for block in study.blocks()[:2]:
            writer.write(block)
        told = info(store)
    text = info_text(told, everything=True, width=1000)
    assert max(map(len, info_text(told, width=80).splitlines()[1:])) <= 80
    head, size, *_ = text.split("  size ")
    assert head == (
        f"{store}: qloc store, schema 1, unfinished: 2 of 4 units\n"
        "  model         id synthetic\n"
        "  facts         10, 5 with queries\n"
        "  queries       11 of 16, 5 known (45% of them)\n"
        "  relations     2: P36, P37\n"
    )
    assert (
        "  methods       ig, grad_x_act\n"
        "  network       3 layers × 40 neurons\n"
        "  panel         floor 0.05; 4 neurons a fact (median), 4 at most, 3.33% of the network; "
        "5 facts over the capacity of 4\n"
        f"  quadrature    a rule that the store does not name{of_paths(study.blocks()[:2], study.methods)}"
    ) in size
    assert "5 facts overflow the panel: with them t ≥ " in size
    study_lines = "    excluded: words after [Y] 2\n    model: id synthetic\n    site: mlp_post\n"
    assert f"  study\n{study_lines}  allows\n" in size
    assert "knowledge synapses" in size


def test_dense_tier_without_attention(tmp_path):
    store = write_store(tmp_path / "s.zarr", Synthetic(n_facts=3, n_heads=0), tier="dense")
    allows = info(store)["allows"]
    assert allows == [
        "neuron sets, consistency, overlap: any threshold",
        "behavioural consistency: ranks, top tokens and candidate answers of every query",
        "localization level R1² (Gram matrices of full score vectors)",
        "consistency-aware sets (CAS) of attribution and activation",
    ]
    assert "  run\n    device: cpu\n  allows\n    - neuron sets" in info_text(info(store), everything=True)
    assert "\n  tier          dense: every neuron, for any threshold\n" in info_text(info(store))
    assert "  panel  " not in info_text(info(store))


def test_info_tells_of_phases(phased):
    found = info(phased)
    assert found["phases"] == {
        "interventions": {
            "operation": ["suppress", "enhance"],
            "neuron_set": ["own", "neighbor", "my söt"],
            "synapse_operation": ["suppress"],
            "synapse_set": ["published", "knowledge"],
        },
        "edits": {"edit_operation": ["erase", "update"], "edit_set": ["own", "union", "cas"]},
    }
    edits = open_store(phased).edits
    assert edits is not None
    n = int((edits["edited_query"] >= 0).sum())
    assert found["made"] == {"edits": {"facts": n}}
    assert f"; edit_set 3; {n} fact{'s' * (n != 1)} edited\n" in info_text(found, width=1000)
    assert "  interventions operation suppress, enhance; neuron_set own, neighbor, my söt; " in info_text(
        found, everything=True, width=1000
    )
    assert "  interventions operation 2; neuron_set 3; " in info_text(found)
    assert "    - effects of interventions, by operation and neuron set" in info_text(found)


def test_what_was_edited_and_traced_is_counted():
    """Two facts edited, one of them with prompts; three queries traced, of two facts."""
    study: Any = SimpleNamespace(
        edits={"edited_query": xr.DataArray([3, -1, 5])},
        entailments={"kind": xr.DataArray(np.array([["synonym", ""], ["", ""], ["", ""]], dtype=object))},
        tracing={"clean_log_odds": xr.DataArray([np.nan, 0.0, -1.0, 2.0])},
        queries={"fact": xr.DataArray([0, 0, 0, 1])},
    )
    made = _made(study)
    assert made == {
        "edits": {"facts": 2},
        "entailments": {"facts": 1, "prompts": 1},
        "tracing": {"queries": 3, "facts": 2},
    }
    assert _made_words(made, "interventions") == []
    assert _made_words(made, "tracing") == ["3 queries of 2 facts traced"]
    told = ["2 facts edited", "1 fact with 1 prompt of what the edit entails, or leaves alone"]
    assert _made_words(made, "edits") == told
    nothing: Any = SimpleNamespace(edits=None, entailments=None, tracing=None)
    assert _made(nothing) == {}
