"""Scores of edits against brute force; verdicts on planted outcomes; questions of a store with all phases."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from qloc.analysis.analyze import analyze
from qloc.analysis.editing.generalization import UsedConsistency
from qloc.analysis.editing.outcomes import edit_effects, edit_scores, harmonic
from qloc.analysis.hypotheses import (
    cas_at_equal_budget,
    cas_at_equal_damage,
    edit_against_matched,
    predicts_generalization,
)
from qloc.analysis.localization.consistency import consistency
from qloc.errors import InputError
from qloc.plan import AnalysisPlan
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate

SIZE = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}
PLAN = AnalysisPlan(n_permutations=99, n_bootstrap=99)
TABLES = {
    "interventions": [
        "intervention_effects",
        "intervention_contrasts",
        "query_kn_mapping",
        "query_kn_ceiling",
        "dose_response",
    ],
    "synapses": ["synapse_effects", "synapse_contrasts", "synapse_contrasts_activation"],
    "edits": ["edit_scores", "edit_scores_probability", "edit_by_class", "edit_contrasts"],
}


@pytest.fixture(scope="module")
def study():
    return simulate(effects=Effects(), **SIZE, pairs=4, known=0.7, seed=4)


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
    assert seen > 60


def test_an_erasure_of_what_was_not_answered_is_not_scored(study):
    base = study.edits["base_rank"]
    wrong = study.edits.assign(base_rank=base.where(base < 0, 2))
    scores = edit_scores(replace(study, datasets={**study.datasets, "edits": wrong}))
    assert np.isnan(scores["reliability"].sel(edit_operation="erase").values).all()
    assert not np.isnan(scores["reliability"].sel(edit_operation="update").values).all()


def test_harmonic_mean():
    assert harmonic([0.5, 0.9, 0.8]) == pytest.approx(3 / (1 / 0.5 + 1 / 0.9 + 1 / 0.8))
    assert harmonic([1.0, 1.0, 0.0]) == 0.0
    assert math.isnan(harmonic([1.0, float("nan"), 0.0]))


def test_what_is_planted_is_found(study):
    few = {"n_permutations": 99}
    erased, updated = (edit_against_matched(study, operation=o, **few) for o in ("erase", "update"))
    assert (erased.name, erased.verdict) == ("H7a", "holds")
    assert (updated.name, updated.verdict) == ("H7b", "holds")
    assert erased.interval.low < 5.0 < erased.interval.high  # planted: 6 and 1
    assert updated.interval.low < 7.5 < updated.interval.high  # 1.5 times that
    better = cas_at_equal_budget(study, **few)
    assert better.name == "H8a"
    assert better.interval.low < 1.5 < better.interval.high  # 7 and 6
    assert predicts_generalization(study, n_bootstrap=99).name == "H10d"


def test_more_of_the_same_damage_is_not_better():
    """CAS and N_i move the same at equal damage; sets that damage more by half a nat move 5 log-odds more."""
    from qloc.simulation.edits import planted_edits
    from qloc.simulation.planted import plant

    found = {}
    for more in (0.0, 3.0):
        planted = plant(**SIZE, seed=5)
        effects = Effects(mean={"cas": 1.0 + more, "own": 1.0}, seed=5)
        edits = planted_edits(
            planted, effects, ("update",), ("cas", "own"), per_nat=10.0, damage={"cas": 0.5, "own": 1.0}
        )
        plain = simulate(**SIZE, seed=5)
        study = replace(plain, datasets={**plain.datasets, "edits": edits})
        found[more] = cas_at_equal_damage(study, n_bootstrap=99)
        plainly = edit_effects(study).sel(edit_operation="update").mean("fact")
        assert float(plainly.sel(edit_set="cas") - plainly.sel(edit_set="own")) < -2
    assert found[0.0].verdict == "undecided"
    assert found[3.0].verdict == "holds"
    assert found[3.0].interval.low < 4.5 < found[3.0].interval.high
    assert found[3.0].checks[0].startswith("Log-odds that o′ gains, mean: ")
    worse = study.edits.assign(text_nats=study.edits["text_nats"] + [[[0.0], [9.0]]])
    apart = cas_at_equal_damage(replace(study, datasets={**study.datasets, "edits": worse}), n_bootstrap=99)
    assert (apart.verdict, apart.p) == ("not identified", None)
    assert "One of them damages more in every fact" in " ".join(apart.checks)
    with pytest.raises(InputError, match="expected sets cas and union under update"):
        cas_at_equal_damage(study, against="union")


def test_edits_that_lower_the_new_object_do_not_generalize_further():
    """CAS is far ahead of N_i, but o′ falls by both."""
    study = simulate(effects=Effects(mean={"cas_top": 10.0}), **SIZE, seed=4)
    lower = study.edits.assign(new_log_probability=study.edits["new_log_probability"] - 30.0)
    found = cas_at_equal_budget(
        replace(study, datasets={**study.datasets, "edits": lower}), n_permutations=99
    )
    ahead = cas_at_equal_budget(study, n_permutations=99)
    assert found.estimate > 0 < ahead.estimate
    assert (ahead.verdict, found.verdict) == ("holds", "undecided")
    assert found.p > 0.9


def test_consistency_over_used_queries(study):
    sets = study.neurons()
    place = np.concatenate([np.arange(n) for n in study.facts["n_queries"].values])
    used = study.edits["held_out"].values[sets.queries["fact"], place] == 0
    expected = consistency(sets.select(used))
    found = UsedConsistency(study)
    assert found.kappa == pytest.approx(expected["kappa"].values, nan_ok=True)
    assert found.cs2 == pytest.approx(expected["CS2"].values, nan_ok=True)


def test_questions_of_a_store_with_all_phases(study):
    result = analyze(study, PLAN.model_copy(update={"confirmatory": ("H1a", "H5a", "H8a")}))
    for id_, names in TABLES.items():
        question = result.question(id_)
        assert [table.name for table in question.tables] == names
        assert question.answer.endswith(".")
        for table in question.tables:
            assert len({len(cells) for cells in table.columns.values()}) == 1, table.name
            assert set(table.labels) <= set(table.columns), table.name
            assert len(table.to_frame()), table.name
    tests = {test.name: test for test in result.tests()}
    names = "H5 H5a H5b H5c H6a H6b H7a H7b H8a H8b H8c H8d H8e H10d"
    assert set(names.split()) <= set(tests)
    assert tests["H5a"].family == tests["H8a"].family == "confirmatory (Holm, 3 tests)"
    screen = result.question("edits").table("edit_contrasts").to_frame()
    assert (screen.p_adjusted >= screen.p).all()
    contrasts = result.question("interventions").table("intervention_contrasts").to_frame()
    row = contrasts[(contrasts.operation == "suppress") & (contrasts.control == "matched")].iloc[0]
    assert row.difference == pytest.approx(tests["H5a"].estimate)
    assert not any("The plan confirms" in note for note in result.notes)


@pytest.fixture(scope="module")
def question(study):
    return analyze(study, PLAN).question("edits")


def test_rome_stands_beside_the_other_edits(study, question):
    """By the same criteria, as an update alone; a fact without a subject in its prompt is counted."""
    scores = question.table("edit_scores").to_frame()
    own = scores[(scores.set == "own") & (scores.operation == "update")].iloc[0]
    for name in ("rome", "rome_identity"):
        row = scores[scores.set == name]
        assert row.operation.tolist() == ["update"]
        row = row.iloc[0]
        expected = edit_scores(study).sel(criterion="argmax", edit_operation="update", edit_set=name)
        for score in ("reliability", "generalization", "locality"):
            assert row[score] == pytest.approx(float(expected[score].mean()))
        assert row.harmonic == pytest.approx(harmonic([row.reliability, row.generalization, row.locality]))
        assert row.empty == 0
        assert row.facts >= own.facts
    contrasts = question.table("edit_contrasts").to_frame().set_index(["operation", "contrast"])
    rome = contrasts.loc[("update", "rome less own")]
    effects = edit_effects(study).sel(edit_operation="update")  # planted: 9 and 6, 1.5 times that in o′
    difference = effects.sel(edit_set="rome") - effects.sel(edit_set="own")
    assert rome.difference == pytest.approx(float(difference.mean()))
    assert rome.difference > 3
    assert "erase" not in contrasts[contrasts.index.get_level_values(1) == "rome less cas"].index
    place = list(study.edits["edit_set"].values).index("rome")
    slots = study.edits["n_slots"].values.copy()
    slots[place, :7] = 0
    fewer = study.edits.assign(n_slots=(("edit_set", "fact"), slots))
    again = analyze(replace(study, datasets={**study.datasets, "edits": fewer}), PLAN)
    frame = again.question("edits").table("edit_scores").to_frame().set_index(["operation", "set"])
    told = study.edits["edited_query"].values[:7]
    known = (told >= 0) & study.queries["known"].values[told].astype(bool)
    assert frame.loc[("update", "rome"), "empty"] == (known & (study.facts["leaks"].values[:7] == 0)).sum()


def test_a_store_from_before_rome_is_analyzed(study, question):
    """Its other edits score the same; what had been missing is not asked for."""
    older = study.edits.sel(edit_set=[n for n in study.edits["edit_set"].values if "rome" not in str(n)])
    found = analyze(replace(study, datasets={**study.datasets, "edits": older}), PLAN).question("edits")
    scores = [q.table("edit_scores").to_frame() for q in (found, question)]
    assert scores[0].equals(scores[1][~scores[1].set.str.contains("rome")].reset_index(drop=True))
    assert not any("rome" in name for name in found.table("edit_contrasts").to_frame().contrast)
    assert {"H7a", "H7b", "H8a", "H8c"} <= {test.name for test in found.tests}


def test_phases_that_a_store_lacks_are_not_asked_of_it():
    result = analyze(
        simulate(**SIZE, seed=1), PLAN.model_copy(update={"confirmatory": ("H1a", "H5a", "H7b")})
    )
    assert not {"interventions", "synapses", "edits"} & {question.id for question in result.questions}
    assert any(note.startswith("The plan confirms H5a, H7b, which") for note in result.notes)


@pytest.mark.parametrize("planting", [{"known": 0.0}, {"empty": 1.0}, {"relations": 1, "one_to_one": 0}])
def test_studies_of_which_little_can_be_told(planting):
    found = analyze(simulate(effects=Effects(), **{**SIZE, **planting}, seed=2), PLAN)
    for id_ in TABLES:
        assert found.question(id_).answer.endswith(".")
    told = {test.name: test.verdict for test in found.tests()}
    assert told["H8c"] == told["H5c"] == "not identified"
    if "known" in planting:
        assert told["H5a"] == told["H7a"] == "not identified"


def test_a_store_with_fewer_arms_is_asked_what_it_can_tell(study):
    fewer = {
        "interventions": study.interventions.sel(operation=["enhance"], neuron_set=["own", "union"]),
        "synapses": study.synapses.sel(synapse_set=["published"]),
        "edits": study.edits.sel(edit_operation=["erase"], edit_set=["union", "in_context"]),
    }
    found = analyze(replace(study, datasets={**study.datasets, **fewer}), PLAN)
    for id_ in TABLES:
        assert found.question(id_).tests == ()
        assert found.question(id_).answer.endswith(".")
