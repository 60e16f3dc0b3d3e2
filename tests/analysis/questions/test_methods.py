"""Agreement of methods beside that of paraphrases, against pairs of sets one by one."""

import numpy as np
import pytest

from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.methods import OTHERS, SAME, methods_question
from qloc.simulation.simulate import simulate


def dice(a, b):
    return 2 * len(a & b) / (len(a) + len(b))


def test_overlaps_by_brute_force(context, frame):
    question = methods_question(context)
    table = frame(question, "method_agreement").set_index(["kind", "what"])
    both = [context.neurons(method, 0.2) for method in ("ig", "grad_x_act")]
    queries, leaks = both[0].queries, both[0].facts["leaks"]
    sets = [[set(one.of(q).tolist()) for q in range(one.n_queries)] for one in both]
    between, across = [], []
    for fact in range(both[0].n_facts):
        own = [
            q
            for q in np.flatnonzero(queries["fact"] == fact)
            if queries["known"][q]
            and queries["kind"][q] == "fact"
            and not leaks[fact]
            and sets[0][q]
            and sets[1][q]
        ]
        pairs = [
            (i, j) for i in own for j in own if i < j and queries["template"][i] != queries["template"][j]
        ]
        if pairs:
            between.append(np.mean([dice(sets[0][q], sets[1][q]) for q in own]))
            across.append([np.mean([dice(one[i], one[j]) for i, j in pairs]) for one in sets])
    assert table.overlap[SAME, "ig and grad_x_act"] == pytest.approx(np.mean(between))
    for place, method in enumerate(("ig", "grad_x_act")):
        assert table.overlap[OTHERS, method] == pytest.approx(np.mean(across, axis=0)[place])
        assert table.facts[OTHERS, method] == len(across)
    (test,) = question.tests
    assert test.name == "H9"
    assert test.estimate == pytest.approx(np.mean(between) - np.mean(across))
    assert question.answer.startswith(f"Two methods share {100 * np.mean(between):.0f}% of the neurons")


def test_one_method_cannot_tell(plan):
    question = methods_question(AnalysisContext(simulate(facts=6, relations=1, templates=3, seed=1), plan))
    assert question.tests[0].verdict == "not identified"
    assert question.answer.startswith("The store has one attribution method")
    assert len(question.tables[0].columns["overlap"]) == 0
