"""Rows and products of Gram matrices, by hand."""

from __future__ import annotations

import numpy as np

from qloc.extract.signals.localization_level import gram_rows, grams

FACTS = [0, 0, 1, 1, 2, 3]
RELATIONS = ["r", "r", "r", "r", "r", "s"]
TEMPLATES = ["a", "b", "a", "b", "b", "a"]
ANSWERS = ["x", "x", "y", "y", "z", "w"]
SUBJECTS = ["p", "p", "q", "q", "o", "p"]


def test_own_rows_are_a_facts_queries_and_null_rows_other_facts_with_other_answers() -> None:
    rows = gram_rows(FACTS, RELATIONS, TEMPLATES, ANSWERS, SUBJECTS, seed=5, n_facts=5)
    assert rows.own == ((0, 1), (2, 3), (4,), (5,), ())
    assert rows.null[0] == (2, 4)  # template a of fact 1, so that template b is fact 2's
    assert rows.null[1] == (0, 4)
    assert rows.null[2] in ((1,), (3,))
    assert rows.null[3] is None  # alone in its relation
    assert rows.null[4] is None  # no queries


def test_a_shared_answer_is_not_taken() -> None:
    answers = ["x", "x", "x", "x", "z", "w"]  # facts 0 and 1 have the same
    assert gram_rows(FACTS, RELATIONS, TEMPLATES, answers, SUBJECTS, seed=5, n_facts=4).null[:2] == (
        None,
        None,
    )


def test_another_object_of_the_subject_is_not_taken() -> None:
    """Facts 0 and 1 have one subject, and so the same prompts."""
    subjects = ["p", "p", "p", "p", "o", "p"]
    assert gram_rows(FACTS, RELATIONS, TEMPLATES, ANSWERS, subjects, seed=5, n_facts=4).null[:2] == (
        None,
        None,
    )


def test_draws_are_fixed_by_the_seed_and_of_other_facts() -> None:
    n = 40
    names = [str(k) for k in range(n)]
    many, again, other = (
        gram_rows(range(n), ["r"] * n, ["a"] * n, names, names, seed=seed, n_facts=n) for seed in (1, 1, 2)
    )
    assert many == again
    assert many.null != other.null
    assert all(row is not None and row[0] != fact for fact, row in enumerate(many.null))


def test_grams_pad_with_nan(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = grams(scores, [(2, 0), None, ()], 3)
    assert found.shape == (2, 3, 3, 3)
    assert found.dtype == np.float64
    for method in range(2):
        for place, row in enumerate((2, 0)):
            for other, column in enumerate((2, 0)):
                product = float((scores[method, row].astype(float) * scores[method, column]).sum())
                np.testing.assert_allclose(found[method, 0, place, other], product, rtol=1e-12)
    assert np.isnan(found[:, 0, 2]).all()
    assert np.isnan(found[:, 0, :, 2]).all()
    assert np.isnan(found[:, 1:]).all()


def test_null_rows_of_a_group_are_of_other_paradigms_or_features_each_once() -> None:
    """Two paradigms of two features: no template is shared, and a fact has three rows of its own."""
    facts = [0, 0, 0, 1, 1, 2, 2, 3, 4]
    relations = ["p"] * 5 + ["q"] * 3 + ["fact"]
    answers = ["one"] * 3 + ["many"] * 2 + ["one"] * 2 + ["many"] + ["x"]
    templates = [str(row) for row in range(9)]
    arguments = (facts, relations, templates, answers, [str(fact) for fact in facts])
    rows = gram_rows(*arguments, seed=1, n_facts=5, groups=[True] * 8 + [False])
    assert rows.own[0] == (0, 1, 2)
    of = [tuple((relations[row], answers[row]) for row in null or ()) for null in rows.null]
    assert [len(cells) for cells in of] == [3, 2, 2, 0, 0]  # as many rows as the fact has, at most
    for fact, cells in enumerate(of[:3]):
        assert len(set(cells)) == len(cells)
        assert cells[0] == (relations[rows.own[fact][0]], answers[rows.own[fact][0]])
        assert ("fact", "x") not in cells
