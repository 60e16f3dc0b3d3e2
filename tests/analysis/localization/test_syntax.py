"""H11 on planted studies: relations renamed to paradigms are no different; planted differences are found."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.layer_profile import layer_shares
from qloc.analysis.localization.syntax import (
    BothKinds,
    kinds_compared,
    layers_of_syntax,
    profiles_compared,
    syntax_against_facts,
)
from qloc.simulation.simulate import simulate

DRAWS = Draws(n_permutations=199, n_bootstrap=19)


@lru_cache(maxsize=1)
def mixed() -> Study:
    """Ten relations, of which the last four pass for paradigms with groups of pairs."""
    study = simulate(facts=60, relations=10, templates=5, seed=3)
    return as_pairs(study, 4)


def as_pairs(study: Study, n: int) -> Study:
    relation = study.column("queries", "relation")
    pair = np.isin(relation, np.unique(relation)[-n:])
    log_p = study.column("queries", "log_probability")
    queries = study.queries.assign(
        kind=("query", np.where(pair, "minimal_pair", "fact")),
        bad_log_probability=("query", np.where(pair, log_p - 1, np.nan)),
    )
    return replace(study, datasets={**study.datasets, "queries": queries})


def test_both_kinds_have_the_scores_that_each_has_alone():
    study = mixed()
    sets = study.neurons()
    both, pair = BothKinds.of(sets), sets.queries["kind"] == "minimal_pair"
    assert both.facts.n_queries == np.sum(
        sets.queries["known"] & ~pair & ~sets.facts["leaks"][sets.queries["fact"]]
    )
    assert both.pairs.n_queries == pair.sum()  # good is likelier in all of them
    alone = consistency(sets.select(pair))["kappa"].values
    np.testing.assert_array_equal(both.kappa()[both.is_pair], alone[both.is_pair])
    np.testing.assert_array_equal(
        both.kappa()[~both.is_pair], consistency(sets)["kappa"].values[~both.is_pair]
    )
    np.testing.assert_array_equal(both.layers()[both.is_pair], layer_shares(both.pairs)[both.is_pair])


def test_a_planted_difference_is_found_and_equal_kinds_are_equal():
    both = BothKinds.of(mixed().neurons())
    kappa = both.kappa()
    plain = kinds_compared(both, kappa, "kappa", margin=0.5, draws=DRAWS)
    assert (plain.name, plain.verdict) == ("H11a", "no relevant difference")
    assert (plain.n["relations"], plain.n["paradigms"]) == (6, 4)
    more = kinds_compared(both, kappa + both.is_pair, "kappa", margin=0.1, draws=DRAWS)
    assert (more.verdict, more.seen()) == ("holds", "more")
    less = kinds_compared(both, kappa - both.is_pair, "level", margin=0.1, draws=DRAWS)
    assert (less.name, less.seen()) == ("H11b", "less")
    relation = mixed().column("facts", "relation")
    means = [np.nanmean(kappa[relation == name]) for name in np.unique(relation)]
    assert plain.estimate == pytest.approx(np.mean(means[6:]) - np.mean(means[:6]))


def test_syntax_in_other_layers_is_found():
    sets = mixed().neurons()
    both = BothKinds.of(sets)
    here = profiles_compared(both, draws=DRAWS)
    share, relation = both.layers(), sets.facts["relation"]
    names = np.unique(relation)
    means = np.array([np.nanmean(share[relation == name], axis=0) for name in names])
    expected = abs(means[6:].mean(axis=0) - means[:6].mean(axis=0)).sum() / 2
    assert here.estimate == pytest.approx(expected)
    assert here.verdict == "undecided"
    shifted = both.pairs.member.tocoo()
    width = sets.n_layers * sets.n_neurons
    moved = type(both.pairs.member)(
        (shifted.data, (shifted.row, (shifted.col + sets.n_neurons) % width)), shape=shifted.shape
    )
    other = profiles_compared(replace(both, pairs=replace(both.pairs, member=moved)), draws=DRAWS)
    assert (other.name, other.verdict) == ("H11c", "holds")
    assert other.estimate > here.estimate


def test_one_kind_alone_is_not_identified():
    study = simulate(facts=12, relations=3, templates=3, seed=1)
    for result in (syntax_against_facts(study, draws=DRAWS), layers_of_syntax(study, draws=DRAWS)):
        assert (result.p, result.verdict) == (None, "not identified")
    level = syntax_against_facts(mixed(), outcome="level", draws=DRAWS)
    assert (level.name, level.n["paradigms"]) == ("H11b", 4)
