"""H2: published ratios and K_I(k₀), their intervals, and how they move with k."""

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.consistency import considered, consistency, filled, first_queries
from qloc.analysis.localization.inconsistent_share import (
    STATIC,
    inconsistent_share,
    ki_frame,
    rarefaction,
    ratio,
    ratio_interval,
)
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.simulation.planted import plant

NO_INTERVALS = Draws(n_bootstrap=0)


def test_ratio_of_subsets_does_not_move_with_k_but_the_published_one_does():
    sets = plant(facts=1600, relations=160, missing=0.0, known=1.0, empty=0.0, leaking=0.0, seed=4).sets()
    published, comparable = [], []
    for k in (3, 8):
        frame = ki_frame(first_queries(sets, k), thresholds=(0.2,), draws=NO_INTERVALS)
        of_cs2 = frame[frame.score == "cs2"].set_index("rule").ki
        published.append(of_cs2["static"])
        comparable.append(of_cs2["subsets"])
    assert published[0] > 2 * published[1]
    # With k = 3 each fact has one subset: a standard error of 0.012, and of which templates come first.
    assert comparable[0] == pytest.approx(comparable[1], abs=0.04)


def test_rarefaction_ends_at_the_full_scores(planted):
    curve = rarefaction(planted, threshold=0.1, largest=4)
    full = consistency(planted)
    most = full.k.values == 4
    assert curve.k0.tolist() == [2, 3, 4]
    assert curve.mean_cs2.iloc[-1] == pytest.approx(full.CS2.values[most].mean())
    assert curve.ki_cs1.iloc[-1] == pytest.approx(ratio(full.CS1.values[most], 0.1))
    assert curve.mean_cs1.iloc[0] == pytest.approx(curve.mean_cs2.iloc[0])  # two sets: the same score


def test_otsu_ratio_interval_holds_the_estimate(planted):
    values = consistency(planted).CS2.values
    unit = np.arange(len(values))
    interval = ratio_interval(values, None, (unit,), draws=Draws(n_bootstrap=199))
    assert interval is not None
    assert 0 <= interval.low <= ratio(values, None) <= interval.high <= 1
    assert "one-way cluster bootstrap" in interval.method


def test_ratio_without_facts():
    nothing = np.full(3, np.nan)
    assert np.isnan(ratio(nothing, 0.1))
    assert ratio_interval(nothing, None, (np.arange(3),), draws=Draws(n_bootstrap=99)) is None
    assert ratio(np.array([0.1, 0.3, np.nan]), 0.2) == 0.5
    assert np.isnan(ratio(nothing, None))


def test_share_of_inconsistent_subsets_is_a_mean_over_facts(planted):
    used = filled(considered(planted))
    share = subset_scores(used.member, used.queries["fact"].astype(int), used.n_facts, [3], 0.2).below_cs2
    result = inconsistent_share(planted, cut=0.2)
    assert result.estimate == pytest.approx(np.nanmean(share))
    assert result.n["facts"] == int(np.sum(~np.isnan(share)))
    assert (result.verdict, result.p) == ("descriptive", None)
    assert result.interval is not None
    assert result.interval.low <= result.estimate <= result.interval.high


def test_share_by_hand(make_sets):
    """Of the first fact's three pairs of queries, one shares no neuron; the second fact has one query."""
    sets = make_sets(
        [(0, "s", "a", [1]), (0, "t", "a", [1, 2]), (0, "u", "a", [2]), (1, "s", "b", [3]), (2, "s", "b", [4]),
         (2, "t", "b", [4])]
    )  # fmt: skip
    result = inconsistent_share(sets, k0=2)
    assert result.estimate == pytest.approx((1 / 3 + 0) / 2)
    assert result.n == {"relations": 1, "facts": 2}
    assert result.estimand == "K_I(2), mean share of a fact's 2-subsets of queries with CS2 < 0.1"
    three = inconsistent_share(sets, k0=3)
    assert three.checks == ("1 facts with two queries or more have fewer than 3: left out.",)
    assert (three.n["facts"], three.interval, three.method) == (1, None, "one cluster: no interval")


def test_the_interval_for_these_relations_stands_in_the_checks(planted):
    result = inconsistent_share(planted, cut=0.3)
    line = result.checks[-1]
    assert line.startswith("For these relations alone: 0.")
    assert line.endswith(", on the log-odds scale).")


def test_frame_holds_every_score_rule_and_threshold(planted):
    frame = ki_frame(planted, draws=NO_INTERVALS)
    expected = [(s, r) for s in ("cs2", "cs1") for r in ("static", "static", "otsu", "subsets", "subsets")]
    assert [*zip(frame.score, frame.rule, strict=True)] == expected
    scores = consistency(planted)
    for score in ("CS1", "CS2"):
        rows = frame[frame.score == score.lower()]
        values = scores[score].values
        assert rows.ki.tolist()[:3] == [ratio(values, split) for split in (*STATIC, None)]
    assert frame[["low", "high", "low_these", "high_these"]].isna().all(axis=None)
    assert frame.measure.tolist()[2:4] == ["CS2 by Otsu, as published", "CS2 < 0.1 in 3 queries"]
