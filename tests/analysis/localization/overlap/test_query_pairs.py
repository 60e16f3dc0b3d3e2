"""Pairs of queries that are compared, and their weights."""

from itertools import combinations

import numpy as np
import pytest

from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap.query_pairs import LEVELS, Level, design_of, pairs_of


def test_pairs_are_of_one_fact_and_different_templates(planted):
    pairs, q = pairs_of(planted), planted.queries
    expected = {
        (i, j)
        for i, j in combinations(range(planted.n_queries), 2)
        if q["fact"][i] == q["fact"][j] and q["template"][i] != q["template"][j]
    }
    assert {(min(pair), max(pair)) for pair in zip(pairs.first, pairs.second, strict=True)} == expected
    assert (pairs.template[pairs.first] < pairs.template[pairs.second]).all()
    assert (pairs.fact == q["fact"][pairs.second]).all()


@pytest.mark.parametrize("level", LEVELS)
def test_weights_count_facts_alike(planted, level: Level):
    used = filled(considered(planted))
    pairs = pairs_of(used)
    design = design_of(used, pairs, level)
    identified = design.n_between > 0
    assert (design.weight > 0).tolist() == identified.tolist()
    by_fact = np.bincount(pairs.fact, weights=design.weight)
    assert by_fact[by_fact > 0] == pytest.approx(1 / np.sum(by_fact > 0))
