"""Overlaps of a relation's queries: by definition, and the same however blocks are cut."""

import numpy as np
import pytest

from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap import overlap_blocks
from qloc.analysis.localization.overlap.excess import excesses
from qloc.analysis.localization.overlap.overlap_blocks import Overlaps
from qloc.analysis.localization.overlap.query_pairs import LEVELS
from qloc.simulation.planted import plant


@pytest.mark.parametrize(("whole", "cells"), [(0, 2**26), (0, 40), (2048, 40)])
def test_blocks_however_cut_give_the_same(monkeypatch, whole, cells):
    sets = filled(considered(plant(facts=40, relations=2, templates=4, seed=5).sets()))
    expected = excesses(sets, n_permutations=20, seed=1)
    monkeypatch.setattr(overlap_blocks, "WHOLE", whole)
    monkeypatch.setattr(overlap_blocks, "BLOCK_CELLS", cells)
    again = excesses(sets, n_permutations=20, seed=1)
    for level in LEVELS:
        assert again[level].permuted == pytest.approx(expected[level].permuted, abs=1e-12)
        assert again[level].excess == pytest.approx(expected[level].excess, abs=1e-12, nan_ok=True)


def test_popular_neurons_are_counted_like_others(monkeypatch):
    sets = filled(considered(plant(facts=30, relations=1, templates=3, template_strength=0.9, seed=6).sets()))
    expected = excesses(sets, n_permutations=9)
    for popular in (1, 10**6):  # nothing dense, everything dense
        monkeypatch.setattr(overlap_blocks, "POPULAR", popular)
        again = excesses(sets, n_permutations=9)
        assert again["template"].permuted == pytest.approx(expected["template"].permuted, abs=1e-7)


def test_overlaps_of_one_relation(planted):
    used = filled(planted)
    queries = np.flatnonzero(used.queries["relation"] == used.queries["relation"][0])
    wide = used.member.toarray()[queries].astype(int)
    rows, columns = np.arange(3), np.arange(3, 9)
    size = wide.sum(axis=1)
    expected = 2 * (wide[rows] @ wide[columns].T) / (size[rows][:, None] + size[columns])
    # Overlaps are kept in float32: 24 bits.
    assert Overlaps(used.member, queries).dice(rows, columns) == pytest.approx(expected, abs=1e-7)
