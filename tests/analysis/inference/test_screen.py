"""Rows of tables: means with intervals, paired differences, and correction over the whole table."""

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.multiplicity import adjusted
from qloc.analysis.inference.paired import paired_p
from qloc.analysis.inference.screen import corrected, mean_columns, screened
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.random_streams import Stream

DRAWS = Draws(n_permutations=199, seed=4, confidence=0.9)


@pytest.fixture
def paired(rng):
    """Differences of 40 facts in 20 relations; two facts have none."""
    x = rng.normal(0.3, 1, 40)
    x[[3, 11]] = np.nan
    return x, (np.repeat(np.arange(20), 2), np.arange(40))


def test_means_have_the_interval_that_allows_for_skewness(paired):
    x, clusters = paired
    interval = skewed_interval(x, clusters, confidence=0.9)
    assert interval is not None
    assert mean_columns("kappa", x, clusters, 0.9) == {
        "kappa": pytest.approx(np.nanmean(x)),
        "kappa_low": interval.low,
        "kappa_high": interval.high,
    }
    for values in (np.zeros(0), np.full(40, np.nan)):
        ways = (clusters[0][: len(values)], clusters[1][: len(values)])
        assert all(np.isnan(cell) for cell in mean_columns("kappa", values, ways, 0.9).values())


def test_a_row_is_that_of_its_parts(paired):
    x, clusters = paired
    kept = ~np.isnan(x)
    ways = (clusters[0][kept], clusters[1][kept])
    rng = np.random.default_rng([4, 110, 3])
    p = paired_p(x[kept], ways, n_permutations=199, rng=rng, alternative="two-sided")[0]
    row = screened(x, clusters, DRAWS, Stream.SYNAPSE_SCREEN, 3)
    assert row == {
        **mean_columns("difference", x, clusters, 0.9),
        "rank_biserial": pytest.approx(rank_biserial(x, clusters).value),
        "p": p,
        "facts": 38,
        "relations": 20,
    }
    assert row["p"] != screened(x, clusters, DRAWS, Stream.SYNAPSE_SCREEN, 4)["p"]


def test_a_row_without_differences_is_empty_and_still_counts(paired):
    _, clusters = paired
    row = screened(np.full(40, np.nan), clusters, DRAWS, Stream.EDIT_SCREEN, 0)
    assert (row["facts"], row["relations"]) == (0, 0)
    assert np.isnan([row["difference"], row["rank_biserial"], row["p"]]).all()
    rows = [{"p": 0.01}, {"p": 0.04}, row]
    table = corrected(rows)
    np.testing.assert_array_equal(
        [cells["p_adjusted"] for cells in table], adjusted([0.01, 0.04, np.nan], "fdr_bh")
    )
    assert table[0]["p_adjusted"] == pytest.approx(0.03)
    assert "p_adjusted" not in rows[0]
    assert corrected([]) == []
