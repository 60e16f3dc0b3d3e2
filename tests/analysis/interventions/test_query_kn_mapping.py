"""Query–KN mapping: consistency by other templates against leaving them out, and the slope of the gap on it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse, special

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes
from qloc.analysis.interventions.query_kn_mapping import (
    gap_test,
    mapping_slope,
    others,
    others_of,
    query_kn_mapping,
    sets_of_arms,
)
from qloc.analysis.localization.consistency import consistency
from qloc.errors import InputError
from qloc.simulation.interventions import log_p


@pytest.fixture(scope="module")
def study(changed_study: Study) -> Study:
    return changed_study


def test_consistency_by_other_templates_by_leaving_them_out(study):
    sets, neighbor = study.neurons(), study.interventions["neighbor"].values
    other, base = others_of(study), consistency(sets)
    fact = sets.queries["fact"]
    for query in range(0, sets.n_queries, 7):
        rest = (fact == fact[query]) & sets.queries["known"] & (sets.sizes() > 0)
        rest[[query, neighbor[query] if neighbor[query] >= 0 else query]] = False
        left = consistency(
            replace(sets, facts={**sets.facts, "leaks": np.zeros(sets.n_facts, bool)}).select(rest)
        )
        chance = base["D0"].values[fact[query]]
        kappa = (left["D"].values[fact[query]] - chance) / (1 - chance)
        assert other.n[query] == rest.sum()
        assert other.kappa[query] == pytest.approx(kappa, nan_ok=True)
        assert other.cs2[query] == pytest.approx(left["CS2"].values[fact[query]], nan_ok=True)


def test_others_by_hand(make_sets):
    """Queries 0 and 1 left out, {1, 2}, {1, 3} and {1} are left: CS2 1/3, D = 6/(2·5)."""
    rows = [(0, f"t{n}", "a", neurons) for n, neurons in enumerate([[1], [4], [1, 2], [1, 3], [1]])]
    rows += [(1, f"t{n}", "b", [7 + n]) for n in range(5)]  # overlaps with nothing: D₀ = 0
    neighbor = np.array([1, 0, 0, 0, -1, 6, 5, 5, 5, 5])
    other = others(make_sets(rows), neighbor)
    assert other.n.tolist()[:5] == [3, 3, 3, 3, 4]
    assert other.cs2[0] == pytest.approx(1 / 3)
    assert other.kappa[0] == pytest.approx(6 / 10)
    assert (other.cs2[5], other.kappa[5]) == (0.0, 0.0)


def test_two_other_queries_are_needed(make_sets):
    rows = [(f, f"t{n}", f"a{f}", [f, 5]) for f in range(2) for n in range(3)]
    other = others(make_sets(rows), np.array([1, 0, -1, 4, 3, -1]))
    assert other.n.tolist() == [1, 1, 2, 1, 1, 2]
    assert np.isnan(other.kappa).tolist() == [True, True, False, True, True, False]


def test_a_planted_slope_is_gained(study):
    """N_i∖N_j moves 6 log-odds more for each unit of κ less."""
    arms, other = study.interventions, others_of(study)
    odds = log_odds(arms["log_probability"].values)
    place = (
        list(arms["operation"].values).index("suppress"),
        list(arms["neuron_set"].values).index("own_minus_neighbor"),
    )
    odds[place] += 6 * np.nan_to_num(other.kappa)
    more = arms.assign(log_probability=(arms["log_probability"].dims, log_p(odds)))
    found, before = (
        query_kn_mapping(
            replace(study, datasets={**study.datasets, "interventions": group}), draws=Draws(n_bootstrap=99)
        )
        for group in (more, arms)
    )
    assert found.name == before.name == "H5c"
    assert (found.p, found.role, found.verdict) == (None, "descriptive", "descriptive")
    assert found.interval is not None
    assert any("by arithmetic" in check for check in found.checks)
    # κ is averaged over queries as the gap is, so that least squares gains the slope but for float32.
    assert found.estimate - before.estimate == pytest.approx(-6, abs=0.05)
    assert str(found).startswith("H5c: slope, within relations, on κ over templates other than i and j")
    assert found.method.endswith("no test")


def test_the_gap_without_a_ceiling_is_a_mean_and_descriptive(study):
    arms, columns = study.interventions, study.queries
    odds = [
        special.logit(
            np.exp(arms["log_probability"].sel(operation="suppress", neuron_set=arm).values.astype(float))
        )
        for arm in ("neighbor_minus_own", "own_minus_neighbor")
    ]
    x = odds[0] - odds[1]
    leaks = study.facts["leaks"].values[columns["fact"].values] > 0
    used = (columns["known"].values == 1) & (columns["kind"].values == "fact") & ~leaks & ~np.isnan(x)
    fact = columns["fact"].values
    found = gap_test(ArmOutcomes.of(study), "suppress", Draws())
    expected = [x[used & (fact == f)].mean() for f in np.unique(fact[used])]
    assert found.estimate == pytest.approx(np.mean(expected), rel=1e-5)
    assert (found.name, found.verdict, found.p, found.n["facts"]) == (
        "H5",
        "descriptive",
        None,
        len(expected),
    )


def test_enhancement_gains(study):
    """The sign of ``toward`` is turned under enhancement, and the estimand says so."""
    changed = ArmOutcomes.of(study)
    slope = mapping_slope(changed, others_of(study), "enhance", Draws(n_bootstrap=99))
    assert "lost" not in slope.estimand
    assert "log-odds gained under enhancement of N_i∖N_j" in slope.estimand
    gap = gap_test(changed, "enhance", Draws())
    assert "lost" not in gap.estimand
    assert gap.estimand.count("gained under enhancement") == 2
    own, near = (changed.change("enhance", arm) for arm in ("own_minus_neighbor", "neighbor_minus_own"))
    assert gap.estimate == pytest.approx(np.nanmean(changed.rows.mean(own - near)))


def test_arms_are_read_with_the_sets_they_were_chosen_by(study):
    attrs = {**study.interventions.attrs, "threshold": 0.4}
    other = replace(
        study, datasets={**study.datasets, "interventions": study.interventions.assign_attrs(attrs)}
    )
    sets = sets_of_arms(other)
    assert sets.rule == "threshold 0.4"
    assert isinstance(sets.member, sparse.csr_array)
    assert sets.sizes().sum() < sets_of_arms(study).sizes().sum()


def test_arms_that_were_not_run_are_refused(study):
    fewer = study.interventions.sel(neuron_set=["own", "own_minus_neighbor"])
    with pytest.raises(InputError) as raised:
        query_kn_mapping(replace(study, datasets={**study.datasets, "interventions": fewer}))
    assert str(raised.value) == (
        "arms is 'own, own_minus_neighbor'; expected arms own_minus_neighbor and neighbor_minus_own under "
        "suppress. At interventions. Extract these arms."
    )
