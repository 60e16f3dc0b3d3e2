"""The ceiling of H5 against brute force; its level where re-prompts are no nearer than other queries."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import special

from qloc.analysis.analyze import notes
from qloc.analysis.hypotheses import own_beyond_reprompt
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.paired import log_odds, paired_test
from qloc.analysis.inputs.query_rows import QueryRows
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes
from qloc.analysis.interventions.query_kn_mapping import NEIGHBOR, OWN, gap_test
from qloc.analysis.interventions.reprompt_ceiling import AGAIN, ceiling_test, overlaps
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.interventions import interventions_question
from qloc.errors import InputError
from qloc.phase_plan import NEURON_SETS, REPROMPT_SETS
from qloc.plan import AnalysisPlan
from qloc.simulation.interventions import Effects, interventions_of, log_p, reprompts_of
from qloc.simulation.planted import plant

SIZE: dict[str, Any] = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}
FEW: dict[str, Any] = {"draws": Draws(n_permutations=99)}


@pytest.fixture(scope="module")
def study(changed_study: Study) -> Study:
    return changed_study


def test_the_ceiling_by_brute_force(study):
    """The gap against N_j less that against N_i′; an arm with no neuron left changes nothing."""
    arms, again = study.interventions, study.reprompts
    queries, leaks = study.queries, study.facts["leaks"].values
    outcome = arms["log_probability"].sel(operation="suppress")
    names = (OWN, NEIGHBOR, *AGAIN)
    after = {name: outcome.sel(neuron_set=name).values.astype(float) for name in names}
    n = {name: arms["n_neurons"].sel(neuron_set=name).values for name in names}
    by_fact: dict[int, list[float]] = {}
    fact, n_zero = queries["fact"].values, 0
    known = queries["known"].values == 1
    for query in np.flatnonzero(again["n_neurons"].values > 0):
        assert known[query]
        if not known[arms["neighbor"].values[query]]:
            continue
        assert not leaks[fact[query]]
        gaps = []
        for first, second in (names[:2], names[2:]):
            odds = [special.logit(np.exp(after[name][query])) for name in (second, first)]
            gaps.append(odds[0] - odds[1] if n[first][query] else 0.0)
        n_zero += not n[AGAIN[0]][query]
        by_fact.setdefault(fact[query], []).append(gaps[0] - gaps[1])
    assert n_zero > 0
    found = own_beyond_reprompt(study, **FEW)
    assert found.estimate == pytest.approx(np.mean([np.mean(gaps) for gaps in by_fact.values()]), rel=1e-4)
    assert (found.n["facts"], found.n["queries"]) == (
        len(by_fact),
        sum(len(gaps) for gaps in by_fact.values()),
    )
    assert (found.name, found.verdict, found.role) == ("H5", "holds", "exploratory")
    assert "100% of the answers still rank first" in " ".join(found.checks)
    none = again.assign(rank=again["rank"] + 1)  # asked again, no query is answered as before
    gone = own_beyond_reprompt(replace(study, datasets={**study.datasets, "reprompts": none}), **FEW)
    assert (gone.verdict, gone.p, gone.n["facts"]) == ("not identified", None, 0)
    near, theirs = overlaps(study.neurons(), ArmOutcomes.of(study), again)
    sets, neighbor = study.neurons(), arms["neighbor"].values
    for query in np.flatnonzero(~np.isnan(near))[::9]:
        mine, other = set(sets.of(query).tolist()), set(sets.of(neighbor[query]).tolist())
        assert near[query] == pytest.approx(2 * len(mine & other) / (len(mine) + len(other)))
        assert theirs[query] == pytest.approx(
            again["n_shared"].values[query] / len(mine)
        )  # as large, planted
    assert np.nanmean(theirs) > np.nanmean(near)


def test_the_ceiling_keeps_its_level_where_reprompts_are_no_nearer_than_other_queries():
    """Null: N_i′ is as near as N_j, and neurons chosen on i move i more; without a ceiling that rejects.

    60 simulations: at most 9 at 5% (binomial, 1 in 400); what is planted, N_i′ sharing 90%, in most.
    """
    rejected = dict.fromkeys(["null", "planted", "no ceiling"], 0)
    for seed in range(60):
        planted = plant(**SIZE, seed=seed)
        for name, kept in (("null", None), ("planted", 0.9)):
            effects = Effects(mean=dict.fromkeys(NEURON_SETS, 1.0), kept=kept, seed=seed)
            arms = interventions_of(planted, effects, ("suppress",), (OWN, NEIGHBOR, *AGAIN))
            values = arms["log_probability"].values.copy()
            for place in (0, 2):  # N_i∖N_j and N_i∖N_i′: 0.4 a neuron
                moved = log_odds(values[:, place]) - 0.4 * arms["n_neurons"].values[place]
                values[:, place] = log_p(moved)
            arms = arms.assign(log_probability=(arms["log_probability"].dims, values))
            sets = planted.sets()
            fact = sets.queries["fact"].astype(int)
            used = sets.queries["known"] & ~sets.facts["leaks"][fact]
            relation, answer = (codes(sets.facts[key]) for key in ("relation", "object"))
            changed = ArmOutcomes(arms, arms, QueryRows(fact, used, relation, answer))
            draws = Draws(n_permutations=99, seed=seed)
            found = ceiling_test(changed, reprompts_of(planted, effects), "suppress", draws)
            assert found.p is not None
            rejected[name] += found.p <= 0.05
        gap = changed.rows.mean(changed.contrast("suppress", OWN, NEIGHBOR))
        alone = paired_test(gap, changed.rows.clusters, name="T", question="?", estimand="gap", draws=draws)
        assert alone.p is not None
        rejected["no ceiling"] += alone.p <= 0.05
    assert rejected["null"] <= 9, rejected
    assert min(rejected["planted"], rejected["no ceiling"]) >= 50, rejected


def test_enhancement_gains(study):
    draws = Draws(n_permutations=99)
    found = ceiling_test(ArmOutcomes.of(study), study.reprompts, "enhance", draws)
    assert found.estimand.startswith("log-odds of the answer to i gained under enhancement of N_i∖N_j")


def test_own_against_neighbor_gets_no_verdict(study):
    """In a store without re-prompts, as older ones are, whatever the plan confirms."""
    sets = [name for name in NEURON_SETS if name not in REPROMPT_SETS]
    groups = {name: group for name, group in study.datasets.items() if name != "reprompts"}
    groups["interventions"] = groups["interventions"].sel(neuron_set=sets)
    old = replace(study, datasets=groups)
    plan = AnalysisPlan(n_permutations=99, n_bootstrap=99, confirmatory=("H5",))
    context = AnalysisContext(old, plan)
    question = interventions_question(context)
    assert "re-prompt" not in question.answer
    assert "query_kn_ceiling" not in [table.name for table in question.tables]
    lines = notes(context, [question])
    assert any(line.startswith("The plan confirms H5, which this store cannot tell") for line in lines)
    with pytest.raises(
        InputError, match="expected arms own_minus_neighbor, neighbor_minus_own, own_minus_re"
    ):
        own_beyond_reprompt(old)
    found = gap_test(ArmOutcomes.of(old), "suppress", Draws())
    assert (found.role, found.verdict, found.p) == ("descriptive", "descriptive", None)
    assert found.interval is not None
    assert found.interval.low < 1.0 < found.interval.high  # planted: 2 and 1
    assert any("near-identical re-prompts" in line for line in found.checks)
