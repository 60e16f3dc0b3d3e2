"""H7 and H8: verdicts on planted outcomes, and estimates computed another way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc.analysis.editing.edit_tests import (
    EQUAL_BUDGETS,
    EQUAL_DAMAGES,
    MATCHED_EDITS,
    cas_at_equal_budget,
    cas_at_equal_damage,
    edit_against_matched,
    edits_of,
)
from qloc.analysis.editing.outcomes import edit_effects
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import CHOSEN_BY_ATTRIBUTION
from qloc.errors import InputError
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate

SIZE: dict[str, Any] = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}


@pytest.fixture(scope="module")
def study(edited_study: Study) -> Study:
    return edited_study


def test_what_is_planted_is_found(study):
    few: dict[str, Any] = {"draws": Draws(n_permutations=99)}
    erased, updated = (edit_against_matched(study, operation=o, **few) for o in ("erase", "update"))
    assert (erased.name, erased.verdict) == ("H7a", "holds")
    assert (updated.name, updated.verdict) == ("H7b", "holds")
    assert erased.interval is not None
    assert erased.interval.low < 5.0 < erased.interval.high  # planted: 6 and 1
    assert updated.interval is not None
    assert updated.interval.low < 7.5 < updated.interval.high  # 1.5 times that
    better = cas_at_equal_budget(study, **few)
    assert better.name == "H8a"
    assert better.interval is not None
    assert better.interval.low < 1.5 < better.interval.high  # 7 and 6


@pytest.mark.parametrize(
    ("name", "on", "first", "second", "run"),
    [
        ("H7a", "edited", ("erase", "own"), ("erase", "matched"), edit_against_matched),
        ("H7b", "held_out", ("update", "own"), ("update", "matched"), edit_against_matched),
        ("H8a", "held_out", ("update", "cas_top"), ("update", "own_top"), cas_at_equal_budget),
        ("H8b", "held_out", ("update", "cas_top"), ("update", "union_top"), cas_at_equal_budget),
    ],
)
def test_paired_estimates_are_mean_differences_of_effects(study, name, on, first, second, run):
    effects = edit_effects(study, on=on)
    both = [effects.sel(edit_operation=operation, edit_set=one).values for operation, one in (first, second)]
    argument = {"operation": first[0]} if run is edit_against_matched else {"against": second[1]}
    found = run(study, **argument, draws=Draws(n_permutations=99))
    assert found.name == name
    assert found.estimate == pytest.approx(np.nanmean(both[0] - both[1]))
    assert found.n["facts"] == int(np.sum(~np.isnan(both[0] - both[1])))
    assert (CHOSEN_BY_ATTRIBUTION in found.checks) == (name == "H7a")  # it alone asks of the edited query


def test_equal_damage_is_an_intercept(study):
    """Least squares of the difference moved on the difference in damage, for each set."""
    effects = edit_effects(study)
    nats = study.edits["text_nats"].sel(edit_operation="update")
    for against, name in zip(EQUAL_DAMAGES, ("H8c", "H8d", "H8e"), strict=True):
        pair = [effects.sel(edit_operation="update", edit_set=one).values for one in ("cas", against)]
        y = pair[0] - pair[1]
        x = (nats.sel(edit_set="cas") - nats.sel(edit_set=against)).values.astype(float)
        keep = ~np.isnan(y) & ~np.isnan(x)
        expected = np.polynomial.polynomial.polyfit(x[keep], y[keep], 1)[0]
        found = cas_at_equal_damage(study, against=against, draws=Draws(n_permutations=99))
        assert found.name == name
        bent = any("bends" in check for check in found.checks)
        if min(x[keep]) <= 0 <= max(x[keep]) and not bent:
            assert found.estimate == pytest.approx(expected, rel=1e-6)
        else:
            assert found.verdict == "not identified"


def test_edits_that_were_not_made_are_refused(study):
    with pytest.raises(InputError) as raised:
        edits_of(study, True, "erase", "own", "rome")
    sets = ", ".join(map(str, study.edits["edit_set"].values))
    assert str(raised.value) == (
        f"edits is {sets!r}; expected sets own and rome under erase. At edits. Extract these edits."
    )
    assert (MATCHED_EDITS, EQUAL_BUDGETS) == (("erase", "update"), ("own_top", "union_top"))


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
        found[more] = cas_at_equal_damage(study, draws=Draws(n_permutations=99))
        plainly = edit_effects(study).sel(edit_operation="update").mean("fact")
        assert float(plainly.sel(edit_set="cas") - plainly.sel(edit_set="own")) < -2
    assert found[0.0].verdict == "undecided"
    assert found[3.0].verdict == "holds"
    assert found[3.0].interval is not None
    assert found[3.0].interval.low < 4.5 < found[3.0].interval.high
    assert found[3.0].checks[1].startswith("Log-odds that o′ gains, mean: ")
    halves = ["text_nats_first", "text_nats_second"]
    noise = np.random.default_rng(1).normal(size=study.edits["text_nats"].shape)
    cannot = {
        "One of them damages more in every fact": {n: study.edits[n] + [[[0.0], [9.0]]] for n in halves},
        "Both halves of the text do not agree": {halves[0]: study.edits[halves[0]] * 0 + noise},
    }
    for why, changed in cannot.items():
        datasets = {**study.datasets, "edits": study.edits.assign(changed)}
        open_ = cas_at_equal_damage(replace(study, datasets=datasets), draws=Draws(n_permutations=99))
        assert (open_.verdict, open_.p) == ("not identified", None)
        assert why in " ".join(open_.checks)
    older = replace(study, datasets={**study.datasets, "edits": study.edits.drop_vars(halves)})
    found_older = cas_at_equal_damage(older)
    assert found_older.verdict == "not identified"
    assert "The store does not keep damage by halves" in " ".join(found_older.checks)
    with pytest.raises(InputError, match="expected sets cas and union under update"):
        cas_at_equal_damage(study, against="union")


def test_edits_that_lower_the_new_object_do_not_generalize_further():
    """CAS is far ahead of N_i, but o′ falls by both."""
    study = simulate(effects=Effects(mean={"cas_top": 10.0}), **SIZE, seed=4)
    lower = study.edits.assign(new_log_probability=study.edits["new_log_probability"] - 30.0)
    found = cas_at_equal_budget(
        replace(study, datasets={**study.datasets, "edits": lower}), draws=Draws(n_permutations=99)
    )
    ahead = cas_at_equal_budget(study, draws=Draws(n_permutations=99))
    assert found.estimate > 0 < ahead.estimate
    assert (ahead.verdict, found.verdict) == ("holds", "undecided")
    assert found.p is not None
    assert found.p > 0.9
