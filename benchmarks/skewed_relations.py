"""Paired tests where relations' effects are skewed: rejections of a mean of 0, and power. docs/statistics.md.

    nice python benchmarks/skewed_relations.py [--simulations 4000]

One effect a relation, one-sided at 5%: p of flips of signs, of Hall's t beside it, the test's own, and what
it would be with twice the allowance for hidden skewness. Effects are skewed against their mean, most of them
above it. Power: of normal effects whose mean a t-test finds in 50%, 80% and 95%. Then the test's own with 12
facts a relation that vary, too, which adds 6% to the variance of relations' means. Then, where relations do
not differ but their facts are skewed, or the reverse: paired tests of a mean of 0, and equivalence where the
mean is at the margin, of 3.2 standard errors; "alone" is by flips, or by t. Last, how much longer intervals
of normal effects, of 5 facts a relation, are than t's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from qloc.analysis.inference.cluster_error import mean_error
from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.equivalence import mean_tost_p, tost_p
from qloc.analysis.inference.paired import paired_p
from qloc.analysis.inference.relation_effects import skewness_adjusted_p
from qloc.analysis.inference.resampling import sign_flip_p
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.results import Interval

RELATIONS = 5, 6, 8, 12, 24
EFFECTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "t(3)": lambda rng, n: rng.standard_t(3, n),
    "log-normal (0.5)": lambda rng, n: np.exp(0.125) - rng.lognormal(0, 0.5, n),
    "exponential": lambda rng, n: 1 - rng.exponential(size=n),
    "χ²(1)": lambda rng, n: 1 - rng.chisquare(1, n),
    "log-normal (1)": lambda rng, n: np.exp(0.5) - rng.lognormal(size=n),
    "log-normal (1.5)": lambda rng, n: np.exp(1.125) - rng.lognormal(0, 1.5, n),
}
RARE = 1 / 7
OF_FACTS_ALONE: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": EFFECTS["normal"],
    "exponential": EFFECTS["exponential"],
    "log-normal (1)": EFFECTS["log-normal (1)"],
    "one of seven far below": lambda rng, n: np.where(rng.random(n) < RARE, RARE - 1, RARE),
}
MARGIN = 3.2
POWERS = 0.5, 0.8, 0.95
FACTS, OF_FACTS = 12, 0.06


def halls(x: np.ndarray, factor: float) -> np.ndarray:
    """p of each row by t, transformed for the skewness seen and, with a factor, for what is hidden."""
    n = x.shape[1]
    t, skewness = stats.ttest_1samp(x, 0, axis=1).statistic, stats.skew(x, axis=1, bias=False)
    hidden = factor * (skewness + 0.5 * np.log(n / 7))
    a = np.stack([np.minimum(skewness, 0) / np.sqrt(n), np.clip(hidden / np.sqrt(n), -0.75, 0)])
    p = stats.t.sf(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6, n - 1)
    return np.asarray(p.max(axis=0) if factor else p[0])


def flips(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """p of each row by flips of signs: all of them, or 999."""
    n = x.shape[1]
    if n < 10:
        signs = 1 - 2 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.concatenate([np.ones((1, n)), rng.integers(2, size=(999, n)) * 2 - 1])
    return np.asarray((x @ signs.T >= x.sum(axis=1, keepdims=True) - 1e-9).mean(axis=1))


def rejected(draw: Callable[[np.random.Generator, int], np.ndarray], n: int, simulations: int) -> np.ndarray:
    """Shares that flips, flips and Hall's t, a paired test, and one with twice its allowance reject."""
    rng, each = np.random.default_rng([n, 5]), np.arange(n)
    x = np.stack([draw(rng, n) for _ in range(simulations)])
    own = halls(x, 2.0)
    np.testing.assert_allclose(own[:20], [skewness_adjusted_p(row, each, each) for row in x[:20]])
    found = np.maximum(flips(x, rng), np.stack([np.zeros(simulations), halls(x, 0.0), own, halls(x, 4.0)]))
    return np.asarray((found <= 0.05).mean(axis=1))


def rejected_with_facts(
    draw: Callable[[np.random.Generator, int], np.ndarray], n: int, simulations: int
) -> float:
    """Share that a paired test rejects where facts vary within relations."""
    rng, relation, each = np.random.default_rng([n, 7]), np.repeat(np.arange(n), FACTS), np.arange(n * FACTS)
    effects = np.stack([draw(rng, n) for _ in range(simulations)])
    spread = effects.std() * np.sqrt(OF_FACTS * FACTS)
    x = np.repeat(effects, FACTS, axis=1) + rng.normal(0, spread, (simulations, n * FACTS))
    own = [skewness_adjusted_p(row, relation, each) for row in x]
    found = np.maximum(flips(x.reshape(simulations, n, FACTS).mean(axis=2), rng), own)
    return float((found <= 0.05).mean())


def covers(interval: Interval | None) -> bool:
    """Whether an interval holds 0."""
    return interval is not None and interval.low <= 0 <= interval.high


def facts_alone(name: str, n: int, facts: int, simulations: int, relations: bool) -> list[float]:
    """Rejections by flips alone and by the test, equivalence by t alone and by the test, coverage likewise.

    Effects are of facts alone, or of relations with normal facts of the same spread.
    """
    relation, each = np.repeat(np.arange(n), facts), np.arange(n * facts)
    draw, found = OF_FACTS_ALONE[name], []
    for i in range(simulations):
        rng = np.random.default_rng([n, facts, i])
        x = draw(rng, n)[relation] + rng.standard_normal(n * facts) if relations else draw(rng, n * facts)
        found.append(x)
    means = np.mean(found, axis=1)
    margin, counts = MARGIN * float(means.std()), np.zeros(7)
    for i, x in enumerate(found):
        rng, ways = np.random.default_rng([n, i]), (relation, each)
        error, freedom = mean_error(x, ways)
        at = float(x.mean()) - margin
        counts += [
            sign_flip_p(x, relation, n_permutations=199, rng=rng, alternative="greater") <= 0.05,
            paired_p(x, ways, n_permutations=199, rng=rng)[0] <= 0.05,
            tost_p(at, error, freedom, margin) <= 0.05,
            mean_tost_p(x - margin, ways, margin) <= 0.05,
            mean_tost_p(x, ways, margin) <= 0.05,
            *(covers(made(x, ways)) for made in (cluster_interval, skewed_interval)),
        ]
    return [float(count) / simulations for count in counts]


def lengths(n: int, simulations: int) -> tuple[float, float, float]:
    """How many times as long as t's intervals of normal effects are, and how often both hold their mean."""
    relation, each, found = np.repeat(np.arange(n), 5), np.arange(5 * n), []
    for i in range(simulations):
        rng = np.random.default_rng([n, i])
        x = rng.standard_normal(n)[relation] + rng.standard_normal(5 * n)
        both = [made(x, (relation, each)) for made in (cluster_interval, skewed_interval)]
        plain, here = (one.high - one.low if one else np.nan for one in both)
        found.append((here / plain, *map(covers, both)))
    times, t, held = np.nanmean(found, axis=0)
    return float(times), float(t), float(held)


def shifted(power: float, n: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Normal effects whose mean a t-test finds with this power."""
    far = brentq(lambda mean: stats.nct.sf(stats.t.isf(0.05, n - 1), n - 1, mean) - power, 0, 30)
    return lambda rng, size: rng.standard_normal(size) + far / np.sqrt(n)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=4000)
    simulations = parser.parse_args().simulations
    head = "| relations | effects | flips | and Hall's t | the test | twice the allowance |"
    print(head, "|---|---|---|---|---|---|", sep="\n")
    for n in RELATIONS:
        planted = {f"normal, t finds {100 * power:g}%": shifted(power, n) for power in POWERS}
        for name, draw in {**EFFECTS, **planted}.items():
            shares = " | ".join(f"{100 * share:.1f}%" for share in rejected(draw, n, simulations))
            print(f"| {n} | {name} | {shares} |", flush=True)
    print("\n| relations | effects, and facts that vary | the test |", "|---|---|---|", sep="\n")
    for n in RELATIONS[1:]:
        for name in ("normal", "exponential", "log-normal (1)"):
            share = rejected_with_facts(EFFECTS[name], n, simulations)
            print(f"| {n} | {name} | {100 * share:.1f}% |", flush=True)
    head = "relations | facts each | effects | flips | the test | equivalence at the margin: t | here | at 0"
    print(f"\n| {head} | t covers | here |", "|---|---|---|---|---|---|---|---|---|---|", sep="\n")
    for n, facts in ((8, 5), (20, 8)):
        for relations in (False, True):
            for name in OF_FACTS_ALONE:
                found = facts_alone(name, n, facts, simulations // 4, relations)
                shares = " | ".join(f"{100 * share:.1f}%" for share in found)
                whose = "relations" if relations else "facts"
                print(f"| {n} | {facts} | {name}, of {whose} | {shares} |", flush=True)
    print("\n| relations | times as long as t's | t covers | here |", "|---|---|---|---|", sep="\n")
    for n in (3, 4, *RELATIONS):
        times, t, held = lengths(n, simulations)
        print(f"| {n} | {times:.2f} | {100 * t:.1f}% | {100 * held:.1f}% |", flush=True)


if __name__ == "__main__":
    main()
