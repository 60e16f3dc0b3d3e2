"""Planted studies: nested as asked, the same by seed, blocks like extraction's, a store like memory."""

import numpy as np
import pytest

from qloc.errors import FingerprintError, InputError
from qloc.simulation.edits import planted_edits
from qloc.simulation.interventions import Effects, interventions_of
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate
from qloc.store.integrity.verify import verify
from qloc.store.schema.phase_variables import PHASES

PLANTING = {"facts": 30, "relations": 3, "templates": 4, "one_to_one": 1, "n_neurons": 32, "pairs": 5}


def test_same_seed_same_study():
    first, again, other = (plant(**PLANTING, seed=s) for s in (1, 1, 2))
    assert (first.member != again.member).nnz == 0
    assert first.member.shape != other.member.shape or (first.member != other.member).nnz > 0
    for a, b in zip(first.blocks(), again.blocks(), strict=True):
        assert a.attribution.tobytes() == b.attribution.tobytes()


def test_a_unit_does_not_depend_on_others():
    planted = plant(**PLANTING, unit_facts=8, seed=1)
    last = planted.outline.units[-1]
    assert planted.block(last).attribution.tobytes() == list(planted.blocks())[-1].attribution.tobytes()


def test_blocks_have_the_shapes_of_the_outline():
    planted = plant(**PLANTING, unit_facts=8, methods=("ig", "grad_x_act"), seed=1)
    sizes, n_queries = planted.outline.sizes, 0
    for block in planted.blocks():
        unit = block.unit
        n, grid = unit.n_queries, (sizes["layer"], sizes["neuron"])
        n_queries += n
        assert block.attribution.shape == (2, n, *grid)
        assert block.activation.shape == block.gradient.shape == (n, *grid)
        assert block.completeness_gap.shape == (2, n, sizes["layer"])
        width = sizes["query_of_fact"]
        assert block.gram.shape == block.null_gram.shape == (2, unit.n_facts, width, width)
        assert block.attention["target_row"].shape == (n, sizes["layer"], sizes["head"], sizes["token"])
        assert block.queries["top_token_id"].shape == (n, sizes["top"])
        assert block.queries["candidate_log_probability"].shape == (n, sizes["candidate"])
        assert {len(column) for column in block.queries.values()} == {n}
    assert n_queries == sizes["query"] == planted.sets().n_queries


def test_columns_agree_with_each_other():
    planted = plant(**PLANTING, seed=1)
    facts = planted.outline.facts
    for block in planted.blocks():
        q = block.queries
        assert (q["relation"] == facts["relation"][q["fact"]]).all()
        assert (q["answer"] == facts["object"][q["fact"]]).all()
        assert ((q["rank"] == 1) == (q["known"] == 1)).all()
        assert np.isnan(q["bad_log_probability"][q["kind"] == "fact"]).all()
    leaks = [o.casefold() in s.casefold() for o, s in zip(facts["object"], facts["subject"], strict=True)]
    assert leaks == (facts["leaks"] == 1).tolist()
    counted = np.bincount(np.concatenate([b.queries["fact"] for b in planted.blocks()]), minlength=35)
    assert facts["n_queries"].tolist() == counted.tolist()


def test_grams_are_of_full_vectors():
    planted = plant(**PLANTING, seed=1)
    block = planted.block(planted.outline.units[0])
    own = block.queries["fact"] == 0
    rows = block.attribution[0, own].reshape(own.sum(), -1).astype(float)
    k = own.sum()
    assert block.gram[0, 0, :k, :k] == pytest.approx(rows @ rows.T, rel=1e-4)
    assert np.isnan(block.gram[0, 0, k:]).all()


def test_answers_are_shared_as_asked():
    facts = plant(
        facts=100, relations=4, answers_per_relation=3, one_to_one=2, shared_answers=0.67, seed=1
    ).outline.facts
    answers = {r: set(facts["object"][facts["relation"] == r]) for r in np.unique(facts["relation"])}
    assert [len(found) for found in answers.values()] == [3, 3, 25, 25]
    assert {"common-0", "common-1"} <= answers["R01"] & answers["R02"]


def test_every_problem_is_named_at_once():
    with pytest.raises(InputError) as caught:
        plant(facts=10, fact_strength=1.5, templates=0)
    assert str(caught.value) == (
        "fact_strength is 1.5; expected a share in [0, 1]. At planting. Correct it.\n"
        "templates is 0; expected a whole number ≥ 1. At planting. Correct it."
    )
    with pytest.raises(InputError, match="unexpected keyword argument 'fact'"):
        plant(fact=10)


@pytest.mark.parametrize("tier", ["panel", "dense"])
def test_a_store_holds_what_memory_holds(tmp_path, tier):
    """Two implementations of the store's contract, compared variable by variable."""
    pytest.importorskip("zarr")
    planting = {
        **PLANTING,
        "tier": tier,
        "capacity": 40,
        "methods": ("ig", "grad_x_act"),
        "unit_facts": 8,
        "seed": 3,
    }
    stored, memory = simulate(tmp_path / "planted.zarr", **planting), simulate(**planting)
    assert stored.complete
    same(stored, memory)
    assert (stored.neurons("ig", 0.8).member != memory.neurons("ig", 0.8).member).nnz == 0


def same(stored, memory):
    for name, group in memory.datasets.items():
        for variable in group.variables:
            ours, theirs = group[variable], stored.datasets[name][variable]
            assert ours.dims == theirs.dims, variable
            if ours.dtype.kind in "iufb":
                assert ours.dtype == theirs.dtype or name == "facts", variable
                np.testing.assert_array_equal(ours.values, theirs.values, err_msg=str(variable))
            else:
                assert theirs.values.astype(str).tolist() == ours.values.astype(str).tolist(), variable


def test_a_store_gets_phases_one_after_the_other(tmp_path):
    pytest.importorskip("zarr")
    path, planting = tmp_path / "planted.zarr", {**PLANTING, "unit_facts": 8, "seed": 3}
    assert simulate(path, **planting).phases == ("signals",)
    some = simulate(path, phases=("interventions",), **planting)
    assert some.phases == ("signals", "interventions")
    effects = Effects(size=0.5, seed=2)
    with pytest.raises(FingerprintError, match="size"):
        simulate(path, effects=effects, **planting)
    stored = simulate(tmp_path / "other.zarr", effects=effects, **planting)
    same(stored, simulate(effects=effects, **planting))
    assert (verify(tmp_path / "other.zarr"), stored.phases) == ([], ("signals", "interventions", "edits"))
    with pytest.raises(
        InputError, match="phases is 'tracing'; expected some of signals, interventions, edits"
    ):
        simulate(phases=("tracing",), **planting)


def test_size_scales_the_effects_that_are_not_named():
    planted = plant(**PLANTING, seed=1)
    none = Effects(size=0.0, mean={"own": 2.0}, relation=0, answer=0, template=0, fact=0, query=0)
    found = interventions_of(planted, none, ("suppress",), ("own", "union"))
    lost = (found["base_logit"] - found["logit"]).isel(operation=0).mean("query").values
    assert lost == pytest.approx([2.0, 0.0], abs=1e-6)
    edits = planted_edits(planted, none, ("update",), ("cas",))
    assert np.nanmean(edits["new_log_probability"][0, 0] - edits["base_new_log_probability"]) == 0


def test_another_network_is_asked_the_same():
    """Facts, queries and who answers what are shared; sets and what is known are not."""
    one, other = (plant(**PLANTING, network=network, seed=1) for network in (0, 3))
    for name in ("fact", "template", "prompt", "answer", "answer_code"):
        assert np.array_equal(getattr(one.columns, name), getattr(other.columns, name)), name
    for name, column in one.outline.facts.items():
        assert np.array_equal(column, other.outline.facts[name]), name
    assert 0 < np.mean(one.columns.known != other.columns.known) < 0.5
    sizes = [np.diff(network.member.indptr).mean() for network in (one, other)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.15)  # of one structure
    shared = one.member.astype(int).multiply(other.member.astype(int)).sum() / one.member.sum()
    assert shared < 0.3  # and with other neurons, of 128
    blocks = [next(network.blocks()).activation for network in (one, other)]
    assert not np.array_equal(*blocks)
    assert one.outline.attrs["model"] != other.outline.attrs["model"]


def test_planted_outcomes_are_laid_out_as_in_a_store():
    """Names, dims and types of docs/store.md; what is empty is NaN or -1, and the same seed gives the same."""
    study = simulate(**PLANTING, effects=Effects(), empty=0.1, seed=1)
    for variable in (variable for phase in PHASES.values() for variable in phase):
        found = study.datasets[variable.group]
        if variable.name not in found:
            assert variable.name in {"fact", "relation", "template"}, variable.path  # copied by a store
            continue
        assert found[variable.name].dims == variable.dims, variable.path
        if variable.dtype != "string":
            assert found[variable.name].dtype == variable.dtype, variable.path
    own = study.interventions.sel(operation="suppress", neuron_set="own")
    nothing = study.neurons().sizes() == 0
    assert nothing.any()
    assert np.array_equal(np.isnan(own["log_probability"].values), nothing)
    assert np.array_equal(own["rank"].values == -1, nothing)
    again = simulate(**PLANTING, effects=Effects(), empty=0.1, seed=1)
    for group in ("interventions", "synapses", "edits"):
        assert study.datasets[group].identical(again.datasets[group])
