"""Two groups of clusters: p against looking at every labelling by hand, and at the level under the null."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.inference.two_groups import TwoGroups, compare_groups, skewnesses


def compared(a: np.ndarray, b: np.ndarray, n: int = 999, seed: int = 0) -> TwoGroups:
    rng = np.random.default_rng(seed)
    return compare_groups(a, b, margin=0.1, confidence=0.95, n_permutations=n, rng=rng)


def test_every_labelling_is_looked_at():
    """Of groups without skewness."""
    a, b = np.array([-0.6, 0.7, 1.3, 2.6]), np.array([-2.9, -1.2, 0.0, 1.2, 2.9])
    found, pooled = compared(a, b), np.concatenate([a, b])
    own, t = stats.ttest_ind(a, b, equal_var=False), []
    for first in combinations(range(9), 4):
        rest = [row for row in range(9) if row not in first]
        t.append(abs(stats.ttest_ind(pooled[list(first)], pooled[rest], equal_var=False).statistic))
    permuted = np.mean(np.array(t) >= abs(own.statistic) - 1e-9)
    assert found.p == pytest.approx(max(permuted, own.pvalue))
    assert (found.n_permutations, found.enumerated, found.least_p) == (126, True, 1 / 126)
    both = own, stats.ttest_ind(a, b)
    wider = max(both, key=lambda test: test.confidence_interval(0.95).high)
    ends = wider.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.freedom == pytest.approx(wider.df)
    sides = [
        max(
            stats.ttest_ind(a + 0.1, b, equal_var=equal, alternative="greater").pvalue,
            stats.ttest_ind(a - 0.1, b, equal_var=equal, alternative="less").pvalue,
        )
        for equal in (True, False)
    ]
    assert found.p_equivalence == pytest.approx(max(sides))


def test_a_few_that_vary_more_are_no_difference():
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = compared(rng.normal(0, 1, 12), rng.normal(0, 3, 4), 99, seed)
        rejected += found.p <= 0.05
    assert rejected <= 18  # 5% would exceed it in 1 of 100 runs; permuted labels alone reject 10%


def test_drawn_labellings_agree_with_all_of_them(rng):
    a, b = rng.normal(0.8, 1, 5), rng.normal(0, 1, 6)
    drawn = compared(a, b, 400)
    assert not drawn.enumerated
    assert drawn.least_p == 1 / 401
    assert drawn.p == pytest.approx(compared(a, b).p, abs=0.07)  # 462 labellings; 3 errors of 400 draws


@pytest.mark.parametrize(("a", "b"), [([1.0], [0.0, 1.0]), ([], [1.0, 2.0]), ([1.0, 1.0], [1.0, 1.0])])
def test_too_few_or_no_spread_is_not_tested(a, b):
    found = compared(np.array(a), np.array(b))
    assert np.isnan(found.p)
    assert found.n_permutations == 0


@pytest.mark.parametrize("n", [2, 3])
def test_few_values_have_no_more_freedom_than_they_are(rng, n):
    """t of the smaller group's n − 1, however many the other has: right whichever varies more."""
    a, b = rng.normal(1, 3, n), rng.normal(0, 1, 30)
    found = compared(a, b)
    error = np.sqrt(a.var(ddof=1) / n + b.var(ddof=1) / 30)
    t = stats.t(n - 1)
    assert found.freedom == n - 1
    reach = (found.difference - found.low, found.high - found.difference)  # skewness of the 30 counts
    assert min(reach) == pytest.approx(t.ppf(0.975) * error)
    assert max(reach) < 1.1 * min(reach)
    assert found.p >= 2 * t.sf(abs(found.difference) / error) - 1e-12


def test_two_values_that_vary_much_keep_the_level():
    """Three times as much as the other group: Welch's t alone rejects 9%."""
    p = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        p.append(compared(rng.normal(0, 3, 2), rng.normal(0, 1, 12)).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.05


def test_skewness_against_the_difference_is_allowed_for():
    """One value far below makes the mean too small and the error too large; the other way nothing is hidden."""
    a, b = np.array([1.0, 1.2, 0.9, 1.1, 1.0, -1.5]), np.array([-0.3, -0.1, 0.0, 0.1, 0.3, 0.0])
    found, turned = compared(a, b), compared(-a, -b)
    assert skewnesses(a, b)[0] < -0.5
    assert skewnesses(a, b)[1] == 0
    assert found.p == turned.p > stats.ttest_ind(a, b, equal_var=False).pvalue
    assert found.difference - found.low > 1.5 * (found.high - found.difference)
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))
