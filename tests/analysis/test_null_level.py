"""Tests keep their level where nothing is planted; in full: benchmarks/calibration.py."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qloc.analysis.comparison.measures import MEASURE_SYMBOLS, Measures
from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.resampling import permutation_p
from qloc.analysis.localization.behaviour import behaviour_test
from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap.excess import excesses
from qloc.analysis.localization.reliability import reliability_test
from qloc.plan import AnalysisPlan
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

N = 250


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "planting"),
    [
        ("template", {"answer_strength": 0.0, "fact_strength": 0.0}),
        ("answer", {"answer_strength": 0.5, "fact_strength": 0.0}),
        ("answer", {"answer_strength": 0.5, "fact_strength": 0.0, "shared_answers": 0.6, "spread": 0.5}),
    ],
)
def test_null_is_rejected_in_one_of_twenty(level, planting):
    p = []
    for seed in range(N):
        sets = plant(facts=48, relations=3, templates=3, answers_per_relation=4, one_to_one=0, n_neurons=64,
                     n_layers=2, seed=seed, **planting).sets()  # fmt: skip
        excess = excesses(filled(considered(sets)), (level,), n_permutations=99, seed=seed)[level]
        p.append(permutation_p(excess.estimate, excess.permuted))
    rejected = int(np.sum(np.array(p) <= 0.05))
    ends = stats.binomtest(rejected, N, 0.05).proportion_ci(0.99)
    assert ends.low <= 0.05 <= ends.high, f"{rejected} of {N} rejected"
    # All of the distribution, not its tail alone: uniform on 0.01, 0.02 … 1.
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_free_permutation_of_facts_would_not_keep_it():
    """Why strata: answer neurons alone make within-fact overlap exceed that of the same templates, always."""
    p = []
    for seed in range(20):
        sets = plant(
            facts=48,
            relations=3,
            templates=3,
            one_to_one=0,
            answer_strength=0.5,
            fact_strength=0.0,
            seed=seed,
        ).sets()
        excess = excesses(filled(considered(sets)), ("template",), n_permutations=99, seed=seed)["template"]
        p.append(permutation_p(excess.estimate, excess.permuted))
    assert max(p) <= 0.05


def kept(p):
    """5% is within, or above, the exact 99% interval of the rejection rate."""
    rejected = int(np.sum(np.array(p) <= 0.05))
    return stats.binomtest(rejected, len(p), 0.05).proportion_ci(0.99).low <= 0.05


DEEP: dict[str, Any] = {"facts": 96, "relations": 4, "templates": 6, "answers_per_relation": 2, "n_neurons": 64, "n_layers": 2,
        "one_to_one": 0, "known": 0.95, "missing": 0.03}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "planting", [{"fact_strength": 0.0}, {}, {"template_spread": 0.8}, {"spread": 0.5}], ids=str
)
def test_reliability_keeps_its_level(planting):
    p = []
    for seed in range(60):
        sets = filled(considered(plant(**{**DEEP, **planting}, seed=seed).sets()))
        p.append(reliability_test(sets, n_splits=5, draws=Draws(n_permutations=59, seed=seed)).p)
    assert kept(p)


@pytest.mark.slow
def test_reliability_finds_facts_that_differ():
    p = []
    for seed in range(20):
        planting = {**DEEP, "fact_strength": 0.3, "fact_spread": 1.0}
        sets = filled(considered(plant(**planting, seed=seed).sets()))
        p.append(reliability_test(sets, n_splits=5, draws=Draws(n_permutations=59, seed=seed)).p)
    assert np.mean(np.array(p, dtype=float) <= 0.05) > 0.6


@pytest.mark.slow
def test_behaviour_keeps_its_level_where_relations_differ():
    """Slopes on κ differ over 8 relations about 0: the relation, not the fact, is what is new."""
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        relation = np.repeat(np.arange(8), 12)
        kappa = rng.normal(size=96)
        frame = pd.DataFrame({"relation": relation, "kappa": kappa})
        frame["agreement"] = rng.normal(size=96) + rng.normal(size=8)[relation] * kappa
        draws = Draws(n_bootstrap=99, seed=seed)
        p.append(behaviour_test(frame, "agreement", draws=draws, second_opinion=False).p)
    assert kept(p)
    assert np.mean(np.array(p) <= 0.5) > 0.3  # not by never rejecting


TINY: dict[str, Any] = {"facts": 48, "relations": 8, "templates": 4, "answers_per_relation": 3, "one_to_one": 1, "n_layers": 2,
        "n_neurons": 64, "n_heads": 0, "unit_facts": 48, "template_strength": 0.2, "noise": 8}  # fmt: skip


@pytest.mark.slow
def test_models_of_one_structure_differ_in_one_of_twenty():
    """Two networks whose relations are as consistent on the mean, and differ: every measure keeps its level."""
    p: dict[str, list[float | None]] = {name: [] for name in MEASURE_SYMBOLS}
    for seed in range(80):
        pair = {str(n): simulate(**TINY, spread=0.5, network=n, seed=seed) for n in (1, 2)}
        measures = Measures(
            Studies(pair), AnalysisPlan(n_permutations=99, consistency_threshold=0.25, seed=seed)
        )
        for name, of_name in p.items():
            of_name.append(measures.test(name, "1", "2").p)
    for of_name in p.values():
        assert kept(of_name)
        assert np.mean(np.array(of_name) <= 0.5) > 0.2  # not by never rejecting
