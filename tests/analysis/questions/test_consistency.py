"""Consistency across paraphrases: tables against scores that are computed from sets one by one."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from qloc.analysis.localization.consistency import consistency
from qloc.analysis.questions.consistency import attributes_of, consistency_question


@pytest.fixture(scope="module")
def question(context):
    return consistency_question(context)


@pytest.fixture(scope="module")
def by_hand(context):
    """Fact → CS1, CS2 and D of its known, non-empty sets, by counting."""
    sets, scores = context.known, {}
    for fact in range(sets.n_facts):
        own = [set(sets.of(q).tolist()) for q in np.flatnonzero(sets.queries["fact"] == fact)]
        own = [neurons for neurons in own if neurons]
        if len(own) >= 2:
            union, count = set().union(*own), {n: sum(n in s for s in own) for n in set().union(*own)}
            shared = sum(len(a & b) for a, b in combinations(own, 2))
            scores[fact] = {
                "cs1": len(set.intersection(*own)) / len(union),
                "cs2": sum(c > 1 for c in count.values()) / len(union),
                # Σ c(c − 1) = 2 Σ |A ∩ B| over pairs
                "dice": 2 * shared / ((len(own) - 1) * sum(map(len, own))),
            }
    return scores


def test_overall_means(context, question, by_hand, frame):
    table = frame(question, "consistency_overall").set_index(["queries", "score"])
    for score in ("cs1", "cs2", "dice"):
        row = table.loc[("known", score)]
        assert row["mean"] == pytest.approx(np.mean([of[score] for of in by_hand.values()]))
        assert row.facts == len(by_hand)
        assert row.low <= row["mean"] <= row.high
    assert table.loc[("known", "kappa"), "mean"] == pytest.approx(np.nanmean(context.scores["kappa"].values))
    assert (table.loc["all"].facts >= table.loc["known"].facts).all()


def test_the_strict_reading_stands_beside_where_another_object_ranks_first(context, question, frame):
    assert set(frame(question, "consistency_overall")["queries"]) == {"known", "all"}
    first = context.sets.queries["known"].copy()
    first[np.flatnonzero(first)[::3]] = False
    sets = replace(context.sets, queries={**context.sets.queries, "own_first": first})
    strict = replace(context)
    strict.__dict__["sets"] = sets
    table = frame(consistency_question(strict), "consistency_overall").set_index(["queries", "score"])
    expected = consistency(replace(sets, queries={**sets.queries, "known": first}))
    assert table.loc[("own object first", "kappa"), "mean"] == pytest.approx(
        np.nanmean(expected["kappa"].values)
    )


def test_means_by_relation(context, question, by_hand, frame):
    table = frame(question, "consistency_by_relation").set_index("relation")
    relation = context.sets.facts["relation"]
    sizes = context.known.sizes()
    for name in np.unique(relation[list(by_hand)]):
        here = [of for fact, of in by_hand.items() if relation[fact] == name]
        for score in ("cs1", "cs2", "dice"):
            assert table.loc[name, score] == pytest.approx(np.mean([of[score] for of in here]))
        assert table.loc[name, "facts"] == len(here)
        assert table.loc[name, "empty"] == np.sum(
            (relation[context.known.queries["fact"]] == name) & (sizes == 0)
        )
        assert table.loc[name, "d0"] == pytest.approx(context.scores["D0"].values[relation == name][0])


def test_minimal_pairs_have_no_consistency_and_are_counted(question, frame):
    rows = frame(question, "consistency_by_relation").set_index("relation")
    assert rows.loc["paradigm-1", "facts"] == 0
    assert rows.loc["paradigm-1", "undefined"] > 0
    assert np.isnan(rows.loc["paradigm-1", "kappa"])


def test_attributes_with_few_words_make_a_table(context, question, by_hand, frame):
    table = frame(question, "by_attribute")
    assert set(zip(table.attribute, table.level, strict=True)) == {("class", "conflict"), ("class", "wide")}
    by = table.set_index("level").kappa
    assert by["conflict"] < by["wide"]
    kinds = context.sets.facts["class"]
    for level, facts in table.set_index("level").facts.items():
        assert facts == sum(kinds[fact] == level for fact in by_hand)
    assert attributes_of(context) == ["class"]  # frequencies are numbers, not words


def test_the_answer_and_the_source(context, question):
    d = float(np.nanmean(context.scores["D"].values))
    assert question.answer.startswith(
        f"Two paraphrases of a fact share {100 * d:.0f}% of their knowledge neurons on average (D = {d:.2f})"
    )
    (reference,) = question.references
    assert reference.endswith("ICLR 2025. arXiv:2405.14117, §2.")
