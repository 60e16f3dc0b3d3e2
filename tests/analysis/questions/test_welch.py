"""The published test is shown, and never more than descriptive."""

import pytest
from scipy import stats

from qloc.analysis.questions.welch import welch_question


def test_the_published_test_is_never_more_than_descriptive(context, frame):
    question = welch_question(context)
    (welch,) = question.tests
    assert welch.name == "Welch, as published"
    assert (welch.role, welch.verdict, welch.p) == ("descriptive", "descriptive", None)
    assert welch.checks[0].startswith("Circular: ")
    assert frame(question, "welch").p.iloc[0] < 0.001


def test_the_table_is_scipys_test_of_both_halves(context, frame):
    table = frame(welch_question(context), "welch")
    assert table.score.tolist() == ["CS2", "CS2", "CS1", "CS1"]
    for row in table[table.rule == "static"].itertuples():
        values = context.scores[row.score].values
        values = values[values == values]
        high, low = values[values >= 0.1], values[values < 0.1]
        assert (row.n_consistent, row.n_inconsistent) == (len(high), len(low))
        if min(len(high), len(low)) > 1:
            expected = stats.ttest_ind(high, low, equal_var=False)
            assert row.p == pytest.approx(expected.pvalue, rel=1e-6)
