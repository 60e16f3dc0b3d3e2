"""Refined neurons by hand: the share moves until a relation has two to five, or turns back."""

import pytest

from qloc.analysis.localization.refined_neurons import refined_neurons


def neurons_of(refined, fact):
    return sorted(refined.member[[fact]].indices.tolist())


def test_a_share_that_fits_stays(make_sets):
    """Of four sets, 1 is in all, 2 in three, 3 in two: at 0.7, the first two."""
    sets = make_sets(
        [(0, t, "a", own) for t, own in zip("stuv", ([1, 2, 3], [1, 2, 3], [1, 2], [1]), strict=True)]
    )
    refined = refined_neurons(sets)
    assert neurons_of(refined, 0) == [1, 2]
    assert (refined.share, refined.converged) == ({"R": 0.7}, {"R": True})


def test_too_many_neurons_raise_the_share_too_few_lower_it(make_sets):
    """Five queries; six neurons in four of them (0.8), two in all: raised past 0.8. One in all, one in three: lowered to 0.6."""
    many = [[1, 2, *range(10, 16)]] * 4 + [[1, 2]]
    refined = refined_neurons(make_sets([(0, t, "a", own) for t, own in zip("stuvw", many, strict=True)]))
    assert neurons_of(refined, 0) == [1, 2]
    assert refined.share["R"] == pytest.approx(0.85)
    few = [[1, 2]] * 3 + [[1]] * 2
    refined = refined_neurons(make_sets([(0, t, "a", own) for t, own in zip("stuvw", few, strict=True)]))
    assert neurons_of(refined, 0) == [1, 2]
    assert refined.share["R"] == pytest.approx(0.6)
    assert refined.converged["R"]


def test_a_share_that_would_turn_back_stops(make_sets):
    """Six neurons in all four sets: no share leaves two to five; none but these are kept at 1."""
    refined = refined_neurons(make_sets([(0, t, "a", range(6)) for t in "stuv"]))
    assert neurons_of(refined, 0) == [*range(6)]
    assert refined.share["R"] == pytest.approx(1)
    assert not refined.converged["R"]
    # One in all of three sets, six in two of them: too few until the share is low, and never two to five.
    rows = [(0, t, "a", own) for t, own in zip("stuvw", ([1], [1], [1], [1], [1]), strict=True)]
    refined = refined_neurons(make_sets(rows))
    assert (neurons_of(refined, 0), refined.converged["R"]) == ([1], False)


def test_two_sets_are_too_few_and_empty_ones_do_not_count(make_sets):
    rows = [(0, "s", "a", [1, 2]), (0, "t", "a", [1, 2]), (0, "u", "a", [])]
    refined = refined_neurons(make_sets(rows))
    assert neurons_of(refined, 0) == []
    assert (refined.share, refined.converged) == ({"R": 0.7}, {"R": False})
    assert refined.member.dtype == bool


def test_the_published_loops_by_hand(make_sets):
    """Niu: each fact has a p of its own. Dai: one a relation, six rounds at most, over all facts with a set.

    Fact 0 has two neurons in all of five sets; fact 1 has eleven in all; fact 2 is asked once.
    """
    rows = [(0, t, "a", [1, 2]) for t in "stuvw"]
    rows += [(1, t, "b", [*range(3, 14)] if t < "w" else [3, 4]) for t in "stuvw"]
    rows += [(2, "s", "c", [20])]
    sets = make_sets(rows)
    by_fact = refined_neurons(sets, loop="niu")
    assert [neurons_of(by_fact, fact) for fact in range(3)] == [[1, 2], [3, 4], [20]]
    assert by_fact.share["0"] == pytest.approx(0.7)
    assert by_fact.share["1"] == pytest.approx(0.85)  # eleven are in four of five
    assert by_fact.converged == {"0": True, "1": True, "2": False}
    by_relation = refined_neurons(sets, loop="dai")
    # at 0.7: (2 + 11 + 1) / 3 is within 2 to 5
    assert (by_relation.share, by_relation.converged) == ({"R": 0.7}, {"R": True})
    assert [neurons_of(by_relation, fact) for fact in range(3)] == [[1, 2], [*range(3, 14)], [20]]
    ours = refined_neurons(sets)  # without fact 2: 13 / 2 is too many until 0.85
    assert ours.share["R"] == pytest.approx(0.85)
    assert [neurons_of(ours, fact) for fact in range(3)] == [[1, 2], [3, 4], []]
    many = make_sets([(0, t, "a", range(6)) for t in "stuv"])  # six in all: no p is enough
    settled, rounds = refined_neurons(many), refined_neurons(many, loop="dai")
    assert settled.share["R"] == pytest.approx(1.0)
    assert rounds.share["R"] == pytest.approx(0.95)  # .7 .75 .8 .85 .9 .95 are six
    assert settled.converged == rounds.converged == {"R": False}
