"""Paired tests: log-odds, which signs are flipped, answers across relations, equivalence."""

from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from qloc.analysis.inference.cluster_error import mean_error
from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import (
    LOG_ODDS_MARGIN,
    THESE_ALONE,
    log_odds,
    paired_p,
    paired_test,
)
from qloc.analysis.inference.relation_effects import relations_in_words, skewness_adjusted_p
from qloc.analysis.inference.resampling import sign_flip_p
from qloc.analysis.results import NEW_RELATIONS, THESE_RELATIONS
from qloc.random_streams import Stream
from qloc.text.rounding import number


def test_log_odds_are_those_of_scipy_and_end_where_float32_does():
    p = np.array([1e-9, 0.2, 0.5, 0.99])
    assert log_odds(np.log(p)) == pytest.approx(special.logit(p))
    assert log_odds(np.array([0.0], dtype=np.float32))[0] == pytest.approx(np.log(2.0**24), rel=1e-6)
    assert np.isnan(log_odds(np.array([np.nan]))[0])


def test_answers_across_relations_count(rng):
    """One answer's effect in every relation: no flip of relations knows that it is one draw."""
    relation, answer = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    x = np.tile([3.0, 3.0, -1.0, -1.0], 8) + 0.01 * rng.normal(size=32)
    alone = sign_flip_p(x, relation, n_permutations=999, rng=rng, alternative="greater")
    p, words = paired_p(x, (relation, answer), n_permutations=999, rng=rng)
    error, freedom = mean_error(x, (relation, answer))
    assert alone < 0.01
    assert p == pytest.approx(stats.t.sf(x.mean() / error, freedom))
    assert 2.5 < freedom <= 3
    assert (p > 0.1, "answers cross relations" in words) == (True, True)
    for same, expected in ((0.0, 1.0), (2.0, 1 / 2**8)):  # without spread: all 2⁸ flips alone tell
        found = paired_p(np.full(32, same), (relation, answer), n_permutations=999, rng=rng)[0]
        assert found == expected


def test_no_difference_is_shown_by_equivalence_only(rng):
    clusters = np.repeat(np.arange(8), 10), np.arange(80)
    text: dict[str, Any] = {
        "name": "T",
        "question": "?",
        "estimand": "difference",
        "draws": Draws(n_permutations=99),
    }
    small = paired_test(0.05 * rng.normal(size=80), clusters, **text, margin=0.1)
    wide = paired_test(2 * rng.normal(size=80) - 0.3, clusters, **text, margin=0.1)
    assert (small.verdict, wide.verdict) == ("no relevant difference", "undecided")
    nothing = paired_test(np.full(80, np.nan), clusters, **text)
    assert (nothing.verdict, nothing.p, nothing.n["facts"]) == ("not identified", None, 0)


def test_a_paired_result_says_what_it_rests_on(rng):
    """Eight relations of four facts with answers of their own: flips of whole relations, by hand."""
    relation, effects = np.repeat(np.arange(8), 4), rng.normal(0.5, 1, 32)
    effects[5] = np.nan
    draws = Draws(n_permutations=999, seed=3)
    found = paired_test(
        effects,
        (relation, np.arange(32)),
        name="T",
        question="?",
        estimand="difference",
        draws=draws,
        n_queries=70,
        checks=("Said before.",),
        store="abc",
    )
    x, rest = effects[~np.isnan(effects)], relation[~np.isnan(effects)]
    expected = sign_flip_p(x, rest, n_permutations=999, rng=Stream.PAIRED.generator(3), alternative="greater")
    assert found.p == max(expected, skewness_adjusted_p(x, rest, np.arange(31)))
    assert found.estimate == x.mean()
    assert found.n == {"relations": 8, "facts": 31, "queries": 70}
    assert found.method == (
        "signs of whole relations flipped (8), 999 flips (all where fewer), and Hall's t for skewness: the "
        "larger p, one-sided"
    )
    assert found.target == NEW_RELATIONS
    assert found.margin == LOG_ODDS_MARGIN
    assert found.checks == (
        "1 facts have no such pair of values (minimal pairs, facts that leak and facts without known queries "
        "among them): left out.",
        "Said before.",
        *relations_in_words(x, rest),
        "Smallest effect of interest: ±0.1 log-odds.",
    )
    assert (found.seed, found.store, found.alpha, found.role) == (3, "abc", 0.05, "exploratory")


def test_streams_draw_apart(rng):
    """Twelve relations have more flips than are drawn, so p varies with the stream, and not otherwise."""
    effects, clusters = rng.normal(0.2, 1, 24), (np.repeat(np.arange(12), 2), np.arange(24))
    text: dict[str, Any] = {"name": "T", "question": "?", "estimand": "d", "draws": Draws(n_permutations=997)}
    first, again = (paired_test(effects, clusters, **text).p for _ in range(2))
    streams = (Stream.PAIRED, Stream.BEYOND_REPROMPT, Stream.CAS_AGAINST_OWN_TOP)
    assert first == again == paired_test(effects, clusters, **text, stream=Stream.PAIRED).p
    assert len({paired_test(effects, clusters, **text, stream=stream).p for stream in streams}) > 1


def test_few_relations_leave_a_caveat(rng):
    clusters = np.repeat(np.arange(5), 4), np.arange(20)
    x = rng.normal(1, 1, 20)
    found = paired_test(x, clusters, name="T", question="?", estimand="d")
    assert found.target == THESE_RELATIONS
    assert found.checks[1] == THESE_ALONE
    cells = cluster_interval(x, (np.arange(20),))
    assert cells is not None
    assert found.checks[2].startswith(
        f"For these relations alone: {number(cells.low)} to {number(cells.high)}"
    )
    assert THESE_ALONE == (
        "With so few relations, p holds for these relations only; the interval is for new relations."
    )


def test_skewed_relations_are_told():
    """One relation far below its mean: flips alone would hold, p does not, and the result says why."""
    x = np.array([1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.1, 0.9, -2.5])
    each, draws = np.arange(10), Draws(n_permutations=1999)
    found = paired_test(x, (each, each), name="T", question="?", estimand="d", draws=draws)
    flips = sign_flip_p(x, each, n_permutations=1999, rng=np.random.default_rng(0), alternative="greater")
    assert flips == 47 / 2**10  # all flips: none, one or two of the nine with the tenth, or nothing
    assert found.p == skewness_adjusted_p(x, each, each) > 0.2
    (told,) = (
        check
        for check in found.checks
        if check.startswith("p allows for effects of relations that are skewed")
    )
    assert told.endswith(f"If they are symmetric, p is {flips:.2g}, of flips of signs alone.")
    means = "−2.5 to 1.2, 9 of them above 0; without any one relation 0.589 to 1."
    assert f"Means of the 10 relations: {means}" in found.checks


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.0, "no relevant difference"), (0.0625, "no relevant difference"),
                           (0.05, "no relevant difference"), (0.1, "no relevant difference"),
                           (0.25, "holds"), (-0.25, "the opposite holds")],
)  # fmt: skip
def test_facts_that_do_not_differ_have_a_verdict_and_no_interval(value, verdict):
    """However the value is rounded: 0.0625 is exact, and the mean of 80 times 0.05 is not 0.05."""
    clusters = np.repeat(np.arange(10), 8), np.arange(80)
    found = paired_test(np.full(80, value), clusters, name="T", question="?", estimand="d", margin=0.2)
    assert (found.verdict, found.interval) == (verdict, None)
    assert found.p_equivalence == pytest.approx(2.0**-10 if abs(value) < 0.2 else 1.0)
    assert not any("skewed" in check for check in found.checks)


def test_clusters_that_do_not_differ_while_facts_do_show_no_equality():
    """Facts of ±50 that cancel in each relation, and relations that are alike but for rounding."""
    relation = np.repeat(np.arange(8), 6)
    for x in (np.tile([50.0, -50.0], 24), np.tile([0.01, 0.02, 0.04], 16)):
        found = paired_test(x, (relation, np.arange(48)), name="T", question="?", estimand="d")
        assert (found.p_equivalence, found.interval) == (None, None)
        assert found.verdict != "no relevant difference"


def test_identical_facts_are_judged_at_the_level_of_the_flips():
    """At 1%, six relations are too few: answers within them are flipped, 24 of them."""
    clusters = np.repeat(np.arange(6), 4), np.arange(24)
    found = paired_test(np.zeros(24), clusters, name="T", question="?", estimand="d", draws=Draws(alpha=0.01))
    assert found.p_equivalence == 2.0**-24
    assert found.verdict == "no relevant difference"
