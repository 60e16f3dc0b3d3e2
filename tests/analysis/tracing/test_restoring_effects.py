"""Effects by hand, and Spearman's correlation of profiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from qloc.analysis.tracing.restoring_effects import CORRUPTIONS, RestoringEffects, profile_correlation

NAN = np.nan


@pytest.fixture(scope="module")
def tracing() -> xr.Dataset:
    """Four queries of two facts; one part, two roles, one layer, two samples of noise and another subject.

    Query 2 gains by its corruption, and query 3 was not traced. Query 0 has no token of the second role.
    """
    dims = ("tracing_part", "token_role", "layer", "corruption", "query")
    corrupted = np.array([[1.0, 0.0, 5.0, NAN], [3.0, 2.0, 7.0, NAN], [-1.0, NAN, 1.0, NAN]])
    gains = np.array([[1.0, 4.0, 9.0, NAN], [3.0, 8.0, 9.0, NAN], [10.0, NAN, 9.0, NAN]])
    odds = np.stack([corrupted + gains, corrupted + 10 * gains])[None, :, None]
    odds[0, 1, ..., 0] = NAN
    return xr.Dataset(
        {
            "log_odds": (dims, odds),
            "probability": (dims, odds / 100),  # any other numbers
            "corrupted_log_odds": (dims[3:], corrupted),
            "corrupted_probability": (dims[3:], corrupted / 50),
            "clean_log_odds": ("query", [6.0, 7.0, 4.0, NAN]),
            "clean_probability": ("query", [0.6, 0.7, 0.4, NAN]),
        },
        coords={
            "tracing_part": ["mlp"],
            "token_role": ["last_subject", "last_token"],
            "corruption": ["noise_1", "noise_2", "other_subject"],
            "fact": ("query", [0, 0, 1, 1]),
        },
    )


def test_noise_is_averaged_over_its_samples(tracing: xr.Dataset) -> None:
    found = RestoringEffects.of(tracing)
    assert (found.parts, found.roles) == (("mlp",), ("last_subject", "last_token"))
    np.testing.assert_allclose(found.total, [4.0, 6.0, -2.0, NAN])  # 6 − (1 + 3)/2, …
    np.testing.assert_allclose(found.at("mlp", "last_subject"), [[2.0, 6.0, 9.0, NAN]])
    np.testing.assert_allclose(found.at("mlp", "last_token"), [[NAN, 60.0, 90.0, NAN]])
    assert found.used.tolist() == [True, True, False, False]
    assert found.fact.tolist() == [0, 0, 1, 1]


def test_another_subject_is_a_corruption_of_its_own(tracing: xr.Dataset) -> None:
    found = RestoringEffects.of(tracing, "other_subject")
    np.testing.assert_allclose(found.total, [7.0, NAN, 3.0, NAN])
    np.testing.assert_allclose(found.at("mlp", "last_subject"), [[10.0, NAN, 9.0, NAN]])
    assert found.used.tolist() == [True, False, True, False]
    assert CORRUPTIONS == ("noise", "other_subject")


def test_probabilities_are_read_and_log_odds_say_which_queries_are_used(tracing: xr.Dataset) -> None:
    found = RestoringEffects.of(tracing, measure="probability")
    np.testing.assert_allclose(found.total, [0.6 - 0.04, 0.7 - 0.02, 0.4 - 0.12, NAN])
    first = np.mean([2.0 / 100 - 1.0 / 50, 6.0 / 100 - 3.0 / 50])
    np.testing.assert_allclose(found.at("mlp", "last_subject")[0, 0], first, atol=1e-15)
    assert found.used.tolist() == [True, True, False, False]  # though query 2 gains in probability


def test_a_fact_s_effect_is_the_mean_of_its_used_queries_that_have_one(tracing: xr.Dataset) -> None:
    found = RestoringEffects.of(tracing)
    of_facts = found.of_facts(found.indirect, 3)
    assert of_facts.shape == (3, 1, 2, 1)
    np.testing.assert_allclose(of_facts[:, 0, :, 0], [[4.0, 60.0], [NAN, NAN], [NAN, NAN]])
    np.testing.assert_allclose(found.of_facts(found.total, 2), [5.0, NAN])


def test_correlations_of_profiles_are_spearmans(rng: Any) -> None:
    first = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], [np.nan] * 4])
    second = np.array([[2.0, 1.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    found = profile_correlation(first, second)
    assert found[0] == pytest.approx(0.6)  # 1 − 6 Σd² / (n (n² − 1)), Σd² = 4
    assert np.isnan(found[1:]).all()
    one, two = rng.integers(0, 4, (2, 5, 8)).astype(float)  # with ties
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(one, two, strict=True)]
    np.testing.assert_allclose(profile_correlation(one, two), expected)
