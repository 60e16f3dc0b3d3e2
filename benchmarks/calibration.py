"""Do H1a and H1b keep their level, find what is planted, and do their intervals cover? docs/statistics.md.

    nice python benchmarks/calibration.py [--simulations 2000] [--cells "NAME;NAME"]

Deterministic by seed: simulation i of a cell has seed i. A test keeps its level where 5% is within or above
the exact 99% interval of its rejection rate. Coverage: of the mean estimate over all simulations (under a
null, of 0), by 95% intervals.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from qloc.analysis.clustered import cluster_interval
from qloc.analysis.consistency import answer_codes, considered, filled, relation_codes
from qloc.analysis.overlap import excesses
from qloc.analysis.pairs import Level
from qloc.analysis.resampling import permutation_p
from qloc.planted import plant

SIZE = {"facts": 160, "relations": 8, "templates": 4, "n_neurons": 128, "one_to_one": 1}
N_PERMUTATIONS = 99


@dataclass(frozen=True)
class Cell:
    """One set of simulations: what is planted, what is tested, what should come out."""

    level: Level
    truth: str
    planting: dict[str, Any] = field(default_factory=dict)


MANY = {"relations": 20, "facts": 240}
NULL_A = {"answer_strength": 0.0, "fact_strength": 0.0}
NULL_B = {"fact_strength": 0.0}
CELLS = {
    "H1a null, template neurons": Cell("template", "null", NULL_A),
    "H1a null, strong templates": Cell("template", "null", {**NULL_A, "template_strength": 0.9}),
    "H1b null, template and answer neurons": Cell("answer", "null", NULL_B),
    "H1b null, strong answers": Cell("answer", "null", {**NULL_B, "answer_strength": 0.8}),
    "H1b null, answers shared by relations": Cell("answer", "null", {**NULL_B, "shared_answers": 0.6}),
    "H1b null, relations differ": Cell("answer", "null", {**NULL_B, "spread": 0.5}),
    "H1a, answer neurons (0.2)": Cell("template", "planted", {"answer_strength": 0.2, "fact_strength": 0.0}),
    "H1a, fact neurons (0.1)": Cell("template", "planted", {"answer_strength": 0.0, "fact_strength": 0.1}),
    "H1b, fact neurons (0.1)": Cell("answer", "planted", {"fact_strength": 0.1}),
    "H1b, fact neurons (0.2)": Cell("answer", "planted", {"fact_strength": 0.2}),
    "H1a, 20 relations that differ": Cell("template", "planted", {**MANY, "spread": 0.3}),
    "H1b, 20 relations that differ": Cell("answer", "planted", {**MANY, "spread": 0.3}),
    "H1a, 8 relations that differ": Cell("template", "planted", {"spread": 0.3}),
    "H1b, 8 relations that differ": Cell("answer", "planted", {"spread": 0.3}),
    "H1b, 8 relations, very unequal": Cell("answer", "planted", {"spread": 0.6}),
}


def one(cell: Cell, seed: int) -> tuple[float, float, float, float]:
    """Estimate, p, and the 95% interval of one simulated study."""
    sets = filled(considered(plant(**{**SIZE, **cell.planting, "seed": seed}).sets()))
    found = excesses(sets, (cell.level,), n_permutations=N_PERMUTATIONS, seed=seed)[cell.level]
    interval = cluster_interval(found.excess, (relation_codes(sets)[1], answer_codes(sets)))
    low, high = (interval.low, interval.high) if interval else (np.nan, np.nan)
    return found.estimate, permutation_p(found.estimate, found.permuted), low, high


def run(name: str, n: int) -> str:
    """One row of the table."""
    cell, start = CELLS[name], time.perf_counter()
    estimate, p, low, high = np.array([one(cell, seed) for seed in range(n)]).T
    rejected = int(np.sum(p <= 0.05))
    ends = stats.binomtest(rejected, n, 0.05).proportion_ci(0.99)
    target = 0.0 if cell.truth == "null" else estimate.mean()
    covered = np.mean((low <= target) & (target <= high))
    return (
        f"| {name} | {cell.truth} | {n:,} | {100 * rejected / n:.1f}% | "
        f"{100 * ends.low:.1f}–{100 * ends.high:.1f}% | "
        f"{estimate.mean():+.4f} | {100 * covered:.1f}% | {time.perf_counter() - start:.0f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--cells", default=",".join(CELLS), help="names, separated by ';'")
    given = parser.parse_args()
    names = CELLS if given.cells == ",".join(CELLS) else given.cells.split(";")
    print("| cell | truth | simulations | rejects | 99% interval | mean estimate | coverage | time |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        print(run(name, given.simulations), flush=True)


if __name__ == "__main__":
    main()
