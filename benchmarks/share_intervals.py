"""How often intervals of mean shares hold the mean where relations differ. docs/statistics.md#intervals.

    nice python benchmarks/share_intervals.py [--simulations 1000]

Relations of 20 facts, each of which is 0 or 1 with its relation's share. "One in G": a relation is far off
with a probability of 1/G, else like the others, so that of G relations none is far off in about a third of
the samples: nothing in these tells that there are such relations, and no interval made from them alone can
hold the mean. The last column is how often a sample has no relation that is far off.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from qloc.analysis.inference.share_intervals import share_interval

FACTS = 20
NEAR, FAR = 0.05, 0.9

Draw = Callable[[np.random.Generator, int], np.ndarray]


def mixed(chance: Callable[[int], float]) -> Draw:
    """Shares of which some are far off, each with this chance."""
    return lambda rng, n: np.where(rng.random(n) < chance(n), FAR, NEAR)


CELLS: dict[str, tuple[Draw, Callable[[int], float]]] = {
    "alike, 0.3": (lambda rng, n: np.full(n, 0.3), lambda n: 0.3),
    "Beta(1, 3), mean 0.25": (lambda rng, n: rng.beta(1, 3, n), lambda n: 0.25),
    "Beta(0.3, 2.7), mean 0.1": (lambda rng, n: rng.beta(0.3, 2.7, n), lambda n: 0.1),
    "0.05, one in four 0.9": (mixed(lambda n: 1 / 4), lambda n: NEAR + (FAR - NEAR) / 4),
    "0.05, one in eight 0.9": (mixed(lambda n: 1 / 8), lambda n: NEAR + (FAR - NEAR) / 8),
    "0.05, one in G 0.9": (mixed(lambda n: 1 / n), lambda n: NEAR + (FAR - NEAR) / n),
}


def covered(draw: Draw, truth: float, n: int, simulations: int) -> tuple[float, float]:
    """Return how often the interval holds the mean, and how often no relation is far off."""
    rng, relation = np.random.default_rng([n, 9]), np.repeat(np.arange(n), FACTS)
    held = none = 0
    for _ in range(simulations):
        shares = draw(rng, n)
        ends = share_interval((rng.random(n * FACTS) < shares[relation]).astype(float), (relation,))
        held += ends is not None and ends.low <= truth <= ends.high
        none += bool(shares.max() < FAR)
    return held / simulations, none / simulations


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=1000)
    simulations = parser.parse_args().simulations
    print(
        "| shares of relations | G | 95% interval holds the mean | none far off |",
        "|---|---|---|---|",
        sep="\n",
    )
    for name, (draw, truth) in CELLS.items():
        for n in (8, 12, 20, 40):
            held, none = covered(draw, truth(n), n, simulations)
            far = f"{100 * none:.1f}%" if "0.9" in name else "–"
            print(f"| {name} | {n} | {100 * held:.1f}% | {far} |", flush=True)


if __name__ == "__main__":
    main()
