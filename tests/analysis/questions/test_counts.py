"""What was asked: counts that add up, against counting one by one."""

import numpy as np
import pytest

from qloc.analysis.questions.counts import counts_question, excluded, study_counts
from qloc.analysis.wording import percent


@pytest.fixture(scope="module")
def question(context):
    return counts_question(context)


def test_counts_add_up(context, study, question, frame):
    counts = study_counts(context)
    by_relation = frame(question, "counts_by_relation")
    facts = by_relation[by_relation.kind == "fact"]
    assert counts["facts"] == 40 == facts.facts.sum()
    assert counts["minimal pairs"] == 6
    assert counts["queries"] == facts.queries.sum()
    assert facts.known.sum() == int(np.sum(study.neurons().known().queries["kind"] == "fact"))
    assert counts["not asked: planted as not askable"] == 40 * 4 - counts["queries"]
    assert facts.one_to_one.tolist() == [False, False, False, True]


def test_relations_are_counted_one_by_one(study, question, frame):
    table = frame(question, "counts_by_relation").set_index("relation")
    relation, answer = study.column("facts", "relation"), study.column("facts", "object")
    leaks = study.column("facts", "leaks") > 0
    fact, known = study.column("queries", "fact"), study.column("queries", "known") == 1
    template, sizes = study.column("queries", "template"), study.neurons().sizes()
    for name, row in table.iterrows():
        here = [f for f in range(len(relation)) if relation[f] == name]
        queries = [q for q in range(len(fact)) if relation[fact[q]] == name]
        clean = [q for q in queries if not leaks[fact[q]]]
        usable = [fact[q] for q in clean if known[q] and sizes[q]]
        assert row.facts == len(here)
        assert row.leaking == leaks[here].sum()
        assert row.answers == len({answer[f] for f in here})
        assert row.templates == len({template[q] for q in queries})
        assert row.queries == len(queries)
        assert row.known == sum(known[q] for q in clean)
        assert row.known_share == pytest.approx(np.mean([known[q] for q in clean]))
        assert row.compared == sum(usable.count(f) >= 2 for f in here)


def test_what_was_left_out_has_a_reason(context, question, frame):
    table = frame(question, "left_out")
    assert table.reason.tolist() == [
        "facts without a query",
        "facts leaking",
        "queries of leaking facts",
        "known queries without knowledge neurons",
        "not asked: planted as not askable",
    ]
    counts = study_counts(context)
    assert table.number.tolist() == [counts[reason] for reason in table.reason]


def test_reasons_are_the_stores():
    assert excluded({"excluded": {"too long": 3, "note": "text"}}) == {"too long": 3}
    assert excluded({"excluded": "nothing"}) == excluded({}) == {}


def test_the_answer_has_the_figures(context, question):
    counts = study_counts(context)
    assert question.answer.startswith(
        f"Asked: 40 facts with {counts['queries']} queries; a right answer ranked "
    )
    assert question.answer.endswith(" Besides, 6 minimal pairs were asked.")


def test_pairs_in_groups_are_counted_and_compared_with_their_like(grouped_context):
    counts, question = study_counts(grouped_context), counts_question(grouped_context)
    pair = grouped_context.sets.queries["kind"] == "minimal_pair"
    n_groups = len(set(grouped_context.sets.queries["fact"][pair]))
    assert (counts["minimal pairs"], counts["groups of minimal pairs"]) == (pair.sum(), n_groups)
    assert question.answer.endswith(f" Besides, {pair.sum()} minimal pairs in {n_groups} groups were asked.")
    table = question.tables[0].to_frame().set_index("relation")
    k = np.zeros(grouped_context.sets.n_facts, dtype=int)
    for query in np.flatnonzero(grouped_context.sets.queries["known"] & (grouped_context.sets.sizes() > 0)):
        k[grouped_context.sets.queries["fact"][query]] += 1
    k[grouped_context.sets.facts["leaks"]] = 0
    for name, row in table.iterrows():
        assert row.compared == np.sum(k[grouped_context.sets.facts["relation"] == name] >= 2)
    assert (table.compared[table.kind == "minimal_pair"] > 0).all()
    of_facts = table[table.kind == "fact"]
    assert counts["facts"] == of_facts.facts.sum()
    assert counts["facts compared"] == of_facts.compared.sum()


def test_a_study_of_pairs_alone_counts_groups_as_facts(pairs_context):
    counts = study_counts(pairs_context)
    n, known = pairs_context.sets.n_queries, int(pairs_context.sets.queries["known"].sum())
    assert counts["queries"] == counts["minimal pairs"] == n
    assert counts["queries known"] == known
    assert counts["facts"] == counts["groups of minimal pairs"] == pairs_context.sets.n_facts
    assert counts_question(pairs_context).answer == (
        f"Asked: {n} minimal pairs in {counts['facts']} groups; the good form is likelier in "
        f"{percent(known / n)} of them. With at least two known pairs that have knowledge neurons, "
        f"{counts['facts compared']} groups can be compared."
    )
