"""R₁² from Gram matrices, against the singular values of the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.analysis.localization.localization_level import localization_level


def of_rows(rows: np.ndarray) -> float:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    largest = np.linalg.svd(unit, compute_uv=False)[0]
    return float((largest**2 - 1) / (len(rows) - 1))


def test_it_is_that_of_the_rows(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(6, 5, 40)) + rng.normal(size=(6, 1, 40))
    level = localization_level(rows @ rows.transpose(0, 2, 1))
    assert level == pytest.approx([of_rows(fact) for fact in rows])


def test_absent_empty_and_uncounted_rows_are_left_out(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(5, 30)) + 0.5
    rows[1] = 0
    gram = np.full((1, 7, 7), np.nan)  # the fact has five queries, others have seven
    gram[0, :5, :5] = rows @ rows.T
    assert localization_level(gram) == pytest.approx([of_rows(rows[[0, 2, 3, 4]])])
    counted = np.array([[True, True, False, True, True, True, True]])
    assert localization_level(gram, counted) == pytest.approx([of_rows(rows[[0, 3, 4]])])
    assert np.isnan(localization_level(gram, np.arange(7)[None] < 2)).all()  # one of the two is empty


def test_length_and_sign_of_rows_do_not_matter(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(4, 20))
    scaled = rows * np.array([1, -3, 0.01, 1000])[:, None]
    assert localization_level((scaled @ scaled.T)[None]) == pytest.approx(
        localization_level((rows @ rows.T)[None])
    )


def test_no_facts_and_no_rows() -> None:
    assert localization_level(np.zeros((0, 3, 3))).shape == (0,)
    assert np.isnan(localization_level(np.zeros((2, 0, 0)))).all()
