"""CAS sets of the shipped store that may lack neurons, against the whole formula for each fact."""

from dataclasses import replace

import numpy as np

from qloc.analysis.editing.cas import cas
from qloc.analysis.editing.cas_certainty import CAS_SETS, uncertified_cas
from qloc.analysis.editing.edit_tests import cas_at_equal_budget, cas_at_equal_damage
from qloc.analysis.inference.draws import Draws
from qloc.shipped import archive
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import open_study


def test_sets_below_the_floor_are_told_and_counted():
    """A neuron outside the panel has a score of β1 · floor at most: sets with a lower bar may lack it."""
    shipped = open_study(archive("causal"))
    edits = shipped.edits.assign_attrs(cas_threshold=0.2)  # at 0.3 no set of its few facts is below the floor
    study = replace(shipped, datasets={**shipped.datasets, "edits": edits})
    found = uncertified_cas(study)
    signals = study.signals_of("ig")
    assert signals.floors is not None
    assert set(found) == set(CAS_SETS)
    of = study.queries["fact"].values
    for fact in range(study.facts.sizes["fact"]):
        queries = np.flatnonzero(of == fact)
        used = queries[edits["held_out"].values[fact, : len(queries)] == 0]
        if edits["edited_query"].values[fact] < 0:
            assert not any(flags[fact] for flags in found.values())
            continue
        _, values, panel = signals.rows(used)
        reach = 0.7 * signals.floors[fact]
        for name, beta2 in (("cas", 0.3), ("cas_no_penalty", 0.0)):
            best = cas(values, panel[0], signals.maximum[used], 0.7, beta2).score.max()
            assert found[name][fact] == (0.2 * best < reach)
        top = sorted(cas(values, panel[0], signals.maximum[used]).score)[::-1]
        assert found["cas_top"][fact] == (len(top) < 20 or top[19] < reach)
    assert found["cas"].any()
    assert 0 < found["cas_top"].sum() < (edits["edited_query"].values >= 0).sum()
    words = "not certain to be of the whole network"
    tests = (cas_at_equal_budget(study, draws=Draws(n_permutations=9)), cas_at_equal_damage(study))
    assert [any(words in check for check in test.checks) for test in tests] == [True, True]


def test_planted_sets_are_not_chosen_by_cas():
    assert uncertified_cas(simulate(effects=Effects(), facts=6, relations=2, templates=3)) == {}
