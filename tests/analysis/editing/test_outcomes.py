"""Scores of edits against brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import special

from qloc.analysis.editing.outcomes import EditOutcomes, edit_effects, edit_scores, harmonic
from qloc.analysis.inputs.study import Study
from qloc.errors import InputError
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def study(edited_study: Study) -> Study:
    return edited_study


def queries_of(study, fact):
    """Places of a fact's known queries: edited, held out, used; none where the edited one is not known."""
    edits, known = study.edits, study.queries["known"].values
    first, n = (int(study.facts[name].values[fact]) for name in ("first_query", "n_queries"))
    told = int(edits["edited_query"].values[fact]) - first
    if study.facts["leaks"].values[fact] or told < 0 or not known[first + told]:
        return {"edited": [], "held_out": [], "used": []}
    held = edits["held_out"].values[fact]
    others = [place for place in range(n) if place != told and known[first + place]]
    return {
        "edited": [told],
        "held_out": [place for place in others if held[place] == 1],
        "used": [place for place in others if held[place] == 0],
    }


@pytest.mark.parametrize("operation", ["erase", "update"])
def test_scores_by_brute_force(study, operation):
    scores = edit_scores(study).sel(edit_operation=operation, edit_set="cas")
    effects = {on: edit_effects(study, on=on) for on in ("edited", "held_out", "used")}
    after = study.edits.sel(edit_operation=operation, edit_set="cas")
    names = {"reliability": "edited", "generalization": "held_out", "generalization_used": "used"}
    seen = 0
    for fact in range(study.facts.sizes["fact"]):
        on = queries_of(study, fact)
        for score, kind in names.items():
            first, second, moved = [], [], []
            for place in on[kind]:
                p, q = (
                    float(after[n].values[fact, place]) for n in ("log_probability", "new_log_probability")
                )
                before, new = (float(study.edits[f"base_{n}"].values[fact, place]) for n in
                               ("log_probability", "new_log_probability"))  # fmt: skip
                if operation == "update":
                    first.append(after["new_rank"].values[fact, place] == 1)
                    second.append(q > p)
                    moved.append(special.logit(np.exp(q)) - special.logit(np.exp(new)))
                    continue
                moved.append(special.logit(np.exp(before)) - special.logit(np.exp(p)))
                if study.edits["base_rank"].values[fact, place] == 1:
                    first.append(after["rank"].values[fact, place] > 1)
                    second.append(max(0.0, 1 - np.exp(p - before)))
            seen += len(first)
            for criterion, values in (("argmax", first), ("probability", second)):
                ours = float(scores[score].sel(criterion=criterion).values[fact])
                assert ours == pytest.approx(np.mean(values) if values else np.nan, nan_ok=True)
            ours = float(effects[kind].sel(edit_operation=operation, edit_set="cas").values[fact])
            assert ours == pytest.approx(np.mean(moved) if moved else np.nan, rel=1e-4, nan_ok=True)
        counted = bool(on["edited"])
        same = after["probe_argmax"].values[fact] == study.edits["base_probe_argmax"].values[fact]
        assert float(scores["locality"].values[fact]) == pytest.approx(
            np.mean(same) if counted else np.nan, nan_ok=True
        )
        nats = float(after["text_nats"].values[fact])
        base = float(study.edits["base_text_nats"].values[fact])
        assert float(scores["perplexity"].values[fact]) == pytest.approx(
            math.exp(base + nats) - math.exp(base) if counted else np.nan, rel=1e-5, nan_ok=True
        )
        assert float(scores["relative_perplexity"].values[fact]) == pytest.approx(
            math.exp(base + nats) / math.exp(base) - 1 if counted else np.nan, rel=1e-5, nan_ok=True
        )
    assert seen > 60


def test_an_erasure_of_what_was_not_answered_is_not_scored(study):
    base = study.edits["base_rank"]
    wrong = study.edits.assign(base_rank=base.where(base < 0, 2))
    scores = edit_scores(replace(study, datasets={**study.datasets, "edits": wrong}))
    assert np.isnan(scores["reliability"].sel(edit_operation="erase").values).all()
    assert not np.isnan(scores["reliability"].sel(edit_operation="update").values).all()


def test_kl_and_damage_by_brute_force(study):
    scores = edit_scores(study).sel(edit_operation="update", edit_set="own")
    after = study.edits.sel(edit_operation="update", edit_set="own")
    for fact in range(study.facts.sizes["fact"]):
        counted = bool(queries_of(study, fact)["edited"])
        kl = after["probe_kl"].values[fact].astype(float)
        assert float(scores["probe_kl"].values[fact]) == pytest.approx(
            kl.mean() if counted else np.nan, nan_ok=True
        )
        assert float(scores["nats"].values[fact]) == pytest.approx(
            float(after["text_nats"].values[fact]) if counted else np.nan, nan_ok=True
        )


def test_which_edits_were_made(study):
    edited = EditOutcomes.of(study)
    assert edited.has("update", "own", "rome", "in_context")
    assert edited.has("erase", "own", "cas")
    assert not edited.has("erase", "rome")  # an update and nothing else
    assert not edited.has("update", "own", "nothing of this name")
    assert not edited.has("rename", "own")


def test_sets_without_a_slot_are_counted_among_edits_that_count(study):
    edited = EditOutcomes.of(study)
    slots = study.edits["n_slots"].sel(edit_set="own").values
    assert edited.empty("own") == sum(
        bool(queries_of(study, fact)["edited"]) and slots[fact] <= 0 for fact in range(len(slots))
    )
    assert edited.empty("in_context") == 0


def test_over_all_queries_every_edit_counts(study):
    answered = study.queries["known"].values.copy()
    answered[study.edits["edited_query"].values[:9]] = 0
    queries = study.queries.assign(known=("query", answered))
    study = replace(study, datasets={**study.datasets, "queries": queries})
    everything, known = (EditOutcomes.of(study, known=known) for known in (False, True))
    leaks = study.facts["leaks"].values > 0
    assert everything.probes_left.tolist() == ((study.edits["edited_query"].values >= 0) & ~leaks).tolist()
    assert everything.probes_left.sum() > known.probes_left.sum()
    assert not (known.probes_left & ~everything.probes_left).any()


def test_a_store_without_edits_is_refused():
    with pytest.raises(InputError) as raised:
        edit_effects(simulate(facts=4, relations=1, templates=3, seed=1))
    assert "expected a store with group /edits. At edits. Extract it with --phases signals,edits." in str(
        raised.value
    )


def test_harmonic_mean():
    assert harmonic([0.5, 0.9, 0.8]) == pytest.approx(3 / (1 / 0.5 + 1 / 0.9 + 1 / 0.8))
    assert harmonic([1.0, 1.0, 0.0]) == 0.0
    assert math.isnan(harmonic([1.0, float("nan"), 0.0]))


def test_queries_of_facts_that_were_not_edited_count_for_nothing(study):
    """A budget edits some facts; where queries that are not known count too, the others' stay out."""
    held = study.edits.load()
    fact = np.arange(held.sizes["fact"])
    some = held.assign(edited_query=held["edited_query"].where(fact % 3 == 0, -1))
    gone = xr.DataArray(fact % 3 == 0, dims="fact")
    some["new_log_probability"] = held["new_log_probability"].where(gone)
    edited = EditOutcomes.of(replace(study, datasets={**study.datasets, "edits": some}), known=False)
    leaks, n = study.facts["leaks"].values > 0, 0
    of_pair = study.queries["kind"].values[study.column("facts", "first_query")] != "fact"
    for row in fact[(fact % 3 == 0) & ~leaks & ~of_pair]:
        n += int(np.sum(held["held_out"].values[row] == 1))
    assert n > 0
    assert int(edited.on["held_out"].sum()) == n
    assert edited.n_compared("update", ("own", "matched"), "held_out") <= n
    moved = edited.moved("update", "own", "held_out") - edited.moved("update", "matched", "held_out")
    on = edited.on["held_out"][~np.isnan(moved)]
    assert edited.n_compared("update", ("own", "matched"), "held_out") == on.sum() > 0


def test_probes_of_the_other_kind_are_left_out(study):
    """By hand: one probe of a pair, whose answer changes and whose KL is 9; of pairs alone, it counts."""
    edits, kinds = study.edits.load(), study.column("queries", "kind")
    pair = int(np.flatnonzero(kinds == "minimal_pair")[0])
    probes, kl = edits["probe_query"].copy(), edits["probe_kl"].copy()
    after = edits["probe_argmax"].copy()
    probes[:, 0], kl[..., 0], after[..., 0] = pair, 9.0, 10
    kl[..., 1:], after[..., 1:] = 1.0, 11
    given = edits.assign(probe_query=probes, probe_kl=kl, probe_argmax=after)
    mixed = EditOutcomes.of(replace(study, datasets={**study.datasets, "edits": given}))
    left = mixed.probes_left
    assert left.any()
    assert (mixed.probe_kl("update", "own")[left] == 1.0).all()
    assert (mixed.unchanged("update", "own")[left] == 0.0).all()
    queries = study.queries.load().assign(kind=("query", np.full(len(kinds), "minimal_pair")))
    alone = EditOutcomes.of(
        replace(study, datasets={**study.datasets, "edits": given, "queries": queries}), known=False
    )
    n = edits.sizes["probe"]
    assert alone.probe_kl("update", "own")[left] == pytest.approx((9.0 + n - 1) / n)
    assert alone.unchanged("update", "own")[left] == pytest.approx(1 / n)
