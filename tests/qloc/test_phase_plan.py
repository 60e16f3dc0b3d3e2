"""What the phases after signals do."""

from __future__ import annotations

import pytest

from qloc.errors import InputError
from qloc.phase_plan import ROME_TRACED, EditPlan, InterventionPlan, ProbePlan, RomePlan
from qloc.plan import Plan


def test_probe_words_are_the_candidates_unless_named() -> None:
    candidates = {"P36": ("Paris", "Rome", "Bern"), "agreement": ("is", "are")}
    assert ProbePlan(most=2).words_of(candidates) == {"P36": ("Paris", "Rome"), "agreement": ("is", "are")}
    named = ProbePlan(words=("was",), of_relations={"P36": ("Lima",)})
    assert named.words_of(candidates) == {"P36": ("Lima",), "agreement": ("was",)}
    assert len({named, named.model_copy(), ProbePlan()}) == 2
    with pytest.raises(InputError) as caught:
        ProbePlan(of_relations={"P37": ("x",)}).words_of(candidates)
    assert str(caught.value) == (
        "relations of probes is ['P37']; expected relations of the facts: P36, agreement. At the plan. "
        "Remove or correct them."
    )


def test_constants_of_an_edit_that_is_not_made_bear_on_nothing() -> None:
    """A store of the same sets from before there was ROME is still that of this plan."""
    assert "rome" in EditPlan().parameters()
    assert EditPlan(sets=("rome_identity",)).parameters()["rome"]["clamp"] == 4.0
    few = [EditPlan(sets=("own",), rome=RomePlan(clamp=clamp)).parameters() for clamp in (1.0, 2.0)]
    assert (
        few[0]
        == few[1]
        == {
            k: v
            for k, v in EditPlan(sets=("own",)).model_dump(mode="json").items()
            if k not in ("rome", "matching", "entailments", "pairs")
        }
    )


def test_older_stores_took_romes_best_value_by_its_loss() -> None:
    older = EditPlan(rome=RomePlan(best_by="loss"))
    assert "best_by" not in older.parameters()["rome"]
    assert not older.tells_loss
    assert EditPlan().parameters()["rome"]["best_by"] == "likelihood"
    assert EditPlan().tells_loss
    assert not EditPlan(sets=("own",)).tells_loss
    assert "rome_as_coded" not in EditPlan().sets


def test_an_edit_of_the_layer_that_tracing_names_needs_the_phase_which_runs_before() -> None:
    assert ROME_TRACED not in EditPlan().sets
    traced = {"edits": EditPlan(sets=("own", ROME_TRACED))}
    with pytest.raises(InputError, match=r"expected tracing among the phases: rome_traced edits the layer"):
        Plan(**traced)
    plan = Plan(**traced, phases=["edits", "tracing", "signals"])
    assert plan.phases == ("signals", "tracing", "edits")
    assert Plan(**traced, phases=["signals", "interventions"]).edits.sets == ("own", ROME_TRACED)


def test_older_stores_are_matched_by_deciles_and_do_not_say_so() -> None:
    for part in (InterventionPlan, EditPlan):
        assert part().parameters()["matching"] == "total"
        assert part().tells_strength
        older = part(matching="decile")
        assert "matching" not in older.parameters()
        assert not older.tells_strength
    assert not EditPlan(sets=("own",)).tells_strength


def test_older_stores_view_no_facts_and_do_not_say_so() -> None:
    assert not {"viewed_facts", "viewed_neurons"} & set(InterventionPlan().parameters())
    viewed = InterventionPlan(viewed_facts=24).parameters()
    assert (viewed["viewed_facts"], viewed["viewed_neurons"]) == (24, 48)
