"""info: what a store holds and allows, as data and as text."""

from synthetic import FINGERPRINT, Synthetic, write_store

from qloc.store.reading.info import info, info_text
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


def test_text_of_an_unfinished_store_that_overflows(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT, capacity=4) as writer:
        for block in study.blocks()[:2]:
            writer.write(block)
        text = info_text(info(store))
    head, size, *_ = text.split("  size ")
    assert head == (
        f"{store}: qloc store, schema 1, unfinished: 2 of 4 units\n"
        "  facts      10, 5 with queries, of 2 relations\n"
        "  queries    11 of 16, 5 known\n"
        "  methods    ig, grad_x_act\n"
        "  network    3 layers × 40 neurons\n"
        "  tier       panel\n"
        "  panel      floor 0.05; 4 neurons a fact (median), 4 at most, 3.33% of the network; "
        "5 facts over the capacity of 4\n"
    )
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
    assert "  run\n    device: cpu\n  allows\n    - neuron sets" in info_text(info(store))


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
    assert "  interventions  operation suppress, enhance; neuron_set own, neighbor, my söt; " in info_text(
        found
    )
    assert "    - effects of interventions, by operation and neuron set" in info_text(found)
