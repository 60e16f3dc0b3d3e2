"""H9: overlap between methods and across paraphrases by definition; equivalence; what one method cannot say."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.consistency import considered
from qloc.analysis.localization.method_agreement import agreement, agreement_of, agreement_test, methods_agree

DRAWS = Draws(n_permutations=99, n_bootstrap=99)


def dice(a, b):
    return 2 * len(a & b) / (len(a) + len(b))


def as_sets(sets):
    return [set(sets.of(query).tolist()) for query in range(sets.n_queries)]


def test_agreement_by_definition(planted):
    other = replace(planted, member=planted.member[::-1], method="other")
    overlaps = agreement([planted, other])
    first, second = considered(planted), considered(other)
    keep = (first.sizes() > 0) & (second.sizes() > 0)
    used = [first.select(keep), second.select(keep)]
    a, b = map(as_sets, used)
    q = used[0].queries
    for fact in range(0, planted.n_facts, 7):
        own = np.flatnonzero(q["fact"] == fact)
        if len(own) < 2:
            continue
        pairs = [*combinations(own, 2)]
        between = np.mean([dice(a[i], b[i]) for i in own])
        across = np.mean([np.mean([dice(s[i], s[j]) for i, j in pairs]) for s in (a, b)])
        assert overlaps.difference[fact] == pytest.approx(between - across)


def test_by_hand(make_sets):
    """One fact of two queries: methods share half of each set, paraphrases nothing by one and all by the other."""
    first = make_sets([(0, "s", "a", [1, 2]), (0, "t", "a", [3, 4])])
    second = replace(make_sets([(0, "s", "a", [2, 3]), (0, "t", "a", [2, 3])]), method="other")
    overlaps = agreement([first, second])
    assert overlaps.between == {("ig", "other"): pytest.approx([0.5])}
    assert overlaps.across == {"ig": pytest.approx([0]), "other": pytest.approx([1])}
    assert overlaps.difference.tolist() == [0]
    assert overlaps.sizes == {"ig": 2, "other": 2}
    result = agreement_of(overlaps, 0.05, DRAWS)
    assert result.checks[0] == (
        "Neurons a query: ig 2, other 2. Sets of different sizes cannot overlap fully, which lowers agreement "
        "between methods."
    )


def test_queries_empty_by_one_method_are_left_out_of_all(make_sets):
    rows = [(0, t, "a", [1]) for t in "stu"]
    other = replace(make_sets([*rows[:2], (0, "u", "a", [])]), method="other")
    overlaps = agreement([make_sets(rows), other])
    assert overlaps.sets.queries["template"].tolist() == ["s", "t"]


def test_methods_that_are_the_same_agree(study):
    result = methods_agree(study, draws=DRAWS)
    assert result.estimate > 0.5
    assert result.n["relations"] == 4
    assert result.verdict == "holds"  # of these four relations, in which answers are flipped
    assert any(check.startswith("With so few relations, p holds") for check in result.checks)
    budget = methods_agree(study, top=5, draws=DRAWS)
    assert any(check.startswith("Neurons a query: ig 5, grad_x_act 5. ") for check in budget.checks)


def test_one_method_is_not_identified(study):
    result = methods_agree(study, methods=["ig"])
    assert (result.verdict, result.p) == ("not identified", None)
    assert result.checks[0] == "The store has one attribution method."


def test_equivalence_is_a_verdict_of_its_own(planted):
    """Of each query another's set of its fact: they agree as paraphrases do, and a wide margin shows it."""
    fact = planted.queries["fact"]
    following = np.append(np.arange(1, len(fact)), 0)
    following = np.where(fact[following] == fact, following, np.searchsorted(fact, fact))
    other = replace(planted, member=planted.member[following], method="other")
    wide = agreement_test([planted, other], margin=0.99, draws=DRAWS)
    assert wide.p is not None
    assert wide.p_equivalence is not None
    assert wide.p_equivalence < 0.05 < wide.p
    assert wide.verdict == "no relevant difference"
    assert "within ±0.99" in wide.sentence()
