"""The published Welch's t: scipy's numbers, its circularity, and what it refuses."""

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.otsu import otsu
from qloc.analysis.localization.welch import CIRCULAR, published_welch, welch, welch_of
from qloc.errors import InputError


def test_by_hand():
    """{0.6, 0.8} against {0.1, 0.2, 0.3}: means 0.7 and 0.2, squared errors 0.01 and 1/300, t = 0.5 / √(1/75)."""
    result, frame = welch_of(np.array([0.6, 0.1, np.nan, 0.8, 0.2, 0.3]), "CS2", 0.5)
    row = frame.iloc[0]
    assert (row.n_consistent, row.n_inconsistent, row.rule, row.split) == (2, 3, "static", 0.5)
    assert row.t == pytest.approx(0.5 / np.sqrt(1 / 75))
    assert row.p == pytest.approx(2 * stats.t.sf(row.t, row.df))
    # Welch–Satterthwaite: (1/75)² / (0.01² / 1 + (1/300)² / 2).
    assert row.df == pytest.approx((1 / 75) ** 2 / (0.01**2 + (1 / 300) ** 2 / 2))
    assert result.estimate == pytest.approx(0.5)
    assert result.n == {"facts": 5, "consistent": 2, "inconsistent": 3}
    assert result.checks == (CIRCULAR, f"As published: t = 4.33, df = 1.68; p-value: {row.p:.2g}.")
    assert (result.role, result.verdict, result.p) == ("descriptive", "descriptive", None)


def test_one_population_is_split_and_found_to_differ(rng):
    """Why it tests nothing: a sample of one normal distribution rejects far beyond any level."""
    result, frame = welch_of(rng.normal(size=200), "CS1")
    assert frame.p[0] < 1e-20
    assert result.checks[1].endswith("p-value: < 0.001.")
    assert result.verdict == "descriptive"


def test_otsu_splits_where_no_split_is_given(planted):
    values = consistency(planted)["CS1"].values
    result, frame = welch(planted, score="CS1")
    cut = float(otsu(values[~np.isnan(values)]))
    assert (frame.split[0], frame.rule[0]) == (cut, "otsu")
    expected = stats.ttest_ind(values[values >= cut], values[values < cut], equal_var=False)
    assert frame.t[0] == pytest.approx(expected.statistic)
    assert result.method == "Welch's t, split at otsu threshold"
    assert published_welch(planted, score="CS1") == result


def test_a_class_of_one_fact_has_no_t():
    result, frame = welch_of(np.array([0.1, 0.2, 0.9]), "CS2", 0.5)
    assert np.isnan([frame.t[0], frame.df[0], frame.p[0]]).all()
    assert result.checks[1] == "As published: not defined, one class has fewer than two facts."
    empty = welch_of(np.full(3, np.nan), "CS2")[0]
    assert np.isnan(empty.estimate)
    assert empty.n == {"facts": 0, "consistent": 0, "inconsistent": 0}


def test_scores_that_were_not_published_are_refused(planted):
    with pytest.raises(InputError) as raised:
        welch(planted, score="kappa")
    assert str(raised.value) == "score is 'kappa'; expected CS1 or CS2. At published_welch. Choose one."
