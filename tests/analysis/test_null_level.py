"""H1a and H1b keep their level where nothing is planted; in full: benchmarks/calibration.py."""

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.consistency import considered, filled
from qloc.analysis.overlap import excesses
from qloc.analysis.resampling import permutation_p
from qloc.planted import plant

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
        found = excesses(filled(considered(sets)), (level,), n_permutations=99, seed=seed)[level]
        p.append(permutation_p(found.estimate, found.permuted))
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
        found = excesses(filled(considered(sets)), ("template",), n_permutations=99, seed=seed)["template"]
        p.append(permutation_p(found.estimate, found.permuted))
    assert max(p) <= 0.05
