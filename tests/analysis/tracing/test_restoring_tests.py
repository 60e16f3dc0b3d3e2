"""H12a and H12b by hand: which tokens and queries are compared, and which layers are correlated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qloc import hypotheses
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.layer_profile import layer_shares
from qloc.analysis.tracing.restoring_effects import RestoringEffects
from qloc.analysis.tracing.restoring_tests import (
    clusters_of,
    correlations,
    headline_effects,
    layers_test,
    of_headline,
    site_test,
)
from qloc.errors import InputError

DRAWS = Draws(n_permutations=99)


def effects(
    indirect: np.ndarray, roles: tuple[str, ...], fact: np.ndarray, used: np.ndarray | None = None
) -> RestoringEffects:
    """Effects of MLPs alone, (role, layer, query)."""
    every = np.ones(len(fact), dtype=bool)
    return RestoringEffects(
        parts=("mlp",),
        roles=roles,
        fact=fact,
        total=np.ones(len(fact)),
        indirect=indirect[None],
        used=every if used is None else used,
    )


def clusters(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every fact is a relation with an answer of its own."""
    return np.arange(n), np.arange(n)


def test_the_subject_s_last_token_is_compared_with_the_mean_of_the_others_but_the_last() -> None:
    roles = ("first_subject", "last_subject", "further_tokens", "last_token")
    values = np.zeros((4, 2, 3))
    values[0, :, :] = [[1.0, np.nan, 2.0], [3.0, np.nan, 2.0]]  # the second query has a subject of one token
    values[1, :, :] = [[5.0, 7.0, 1.0], [5.0, 9.0, 1.0]]
    values[2, :, :] = [[0.0, 2.0, 9.0], [0.0, 4.0, 9.0]]
    values[3, :, :] = 100.0  # the last token is not among them
    found = site_test(effects(values, roles, np.array([0, 1, 1])), clusters(2), DRAWS)
    # by hand: fact 0: 5 − (2 + 0)/2 = 4; fact 1: mean of 8 − 3 and 1 − (2 + 9)/2
    assert found.estimate == pytest.approx((4.0 + (5.0 - 4.5) / 2) / 2)
    assert (found.name, found.n["queries"]) == ("H12a", 3)
    nothing = values.copy()
    nothing[[0, 2], :, 0] = np.nan  # the first fact has no other token
    assert site_test(effects(nothing, roles, np.array([0, 1, 1])), clusters(2), DRAWS).n["queries"] == 2
    alone = effects(values, roles, np.array([0, 1, 1]), used=np.array([True, False, True]))
    assert site_test(alone, clusters(2), DRAWS).estimate == pytest.approx((4.0 - 4.5) / 2)


def test_layers_are_correlated_fact_by_fact_and_with_the_relation_s_other_facts(
    rng: np.random.Generator,
) -> None:
    shares, values = rng.random((4, 5)), rng.random((1, 5, 4))
    relation = np.array([0, 0, 0, 1])
    own, others = correlations(
        effects(values, ("last_subject",), np.arange(4)), shares, relation, "last_subject"
    )
    expected = [stats.spearmanr(shares[fact], values[0, :, fact]).statistic for fact in range(4)]
    assert own == pytest.approx(expected)
    of_others = stats.spearmanr(shares[[1, 2]].mean(0), values[0, :, 0]).statistic
    assert others[0] == pytest.approx(of_others)
    assert np.isnan(others[3])  # alone in its relation
    found = layers_test(effects(values, ("last_subject",), np.arange(4)), shares, clusters(4), DRAWS)
    assert found.name == "H12b"
    assert found.estimate == pytest.approx(np.mean(expected))


def test_what_was_not_restored_is_not_identified_and_told() -> None:
    nothing = effects(np.ones((1, 2, 3)), ("last_token",), np.arange(3))
    for found in (
        site_test(nothing, clusters(3), DRAWS),
        layers_test(nothing, np.ones((3, 2)), clusters(3), DRAWS),
    ):
        assert (found.verdict, found.p) == ("not identified", None)
        assert any("the store does not have them" in check for check in found.checks)


def test_public_functions_read_a_study_and_leave_minimal_pairs_out(traced_study: Study) -> None:
    is_fact = traced_study.column("queries", "kind") == "fact"
    used, every = headline_effects(traced_study).used, RestoringEffects.of(traced_study.tracing).used
    assert np.array_equal(used, every & is_fact)
    assert (every & ~is_fact).any()
    site = hypotheses.restoring_at_subject(traced_study, draws=DRAWS)
    assert (site.name, site.n["queries"]) == ("H12a", int(used.sum()))
    layers = hypotheses.layers_of_tracing(traced_study, draws=DRAWS)
    sets = traced_study.neurons()
    effects = headline_effects(traced_study)
    own = correlations(effects, layer_shares(sets.known()), clusters_of(sets)[0], "last_subject")[0]
    assert layers.estimate == pytest.approx(np.nanmean(own))


def test_a_store_without_tracing_is_refused(study: Study) -> None:
    with pytest.raises(InputError, match=r"expected a store with group /tracing\. At tracing\. Extract it"):
        hypotheses.restoring_at_subject(study, draws=DRAWS)


def test_pairs_alone_are_the_headline() -> None:
    assert of_headline(np.array(["fact", "minimal_pair"])).tolist() == [True, False]
    assert of_headline(np.array(["minimal_pair", "minimal_pair"])).tolist() == [True, True]
