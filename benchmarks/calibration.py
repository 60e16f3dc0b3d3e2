"""Do tests keep their level, find what is planted, and do their intervals cover? docs/statistics.md.

    nice python benchmarks/calibration.py [--simulations 2000] [--cells "NAME;NAME"] [--processes 2]

Deterministic by seed: simulation i of a cell has seed i. A test keeps its level where 5% is within or above
the exact 99% interval of its rejection rate. Coverage: of the mean estimate over all simulations (under a
null, of 0), by 95% intervals. Rows named "practice" show what is common instead.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from calibration_cells import CELLS as OF_SETS
from calibration_effects import CELLS as OF_EFFECTS
from scipy import stats

CELLS = {**OF_SETS, **OF_EFFECTS}


def one(name: str, seed: int) -> tuple[float, float, float, float]:
    """Estimate, p, and the 95% interval of one simulated study."""
    return CELLS[name].simulate(seed)


def run(name: str, n: int, pool: ProcessPoolExecutor) -> str:
    """One row of the table."""
    cell, start = CELLS[name], time.perf_counter()
    outcomes = pool.map(partial(one, name), range(n), chunksize=max(1, n // 40))
    estimate, p, low, high = np.array(list(outcomes)).T
    rejects, ends = "–", "–"
    if not np.isnan(p).all():
        rejected = int(np.sum(p <= 0.05))
        interval = stats.binomtest(rejected, n, 0.05).proportion_ci(0.99)
        rejects, ends = f"{100 * rejected / n:.1f}%", f"{100 * interval.low:.1f}–{100 * interval.high:.1f}%"
    target = 0.0 if cell.truth == "null" else estimate.mean()
    with_interval = ~np.isnan(low)
    covered = np.mean((low <= target) & (target <= high)) if with_interval.any() else np.nan
    held = "–" if np.isnan(covered) else f"{100 * covered:.1f}%"
    return (
        f"| {name} | {cell.truth} | {n:,} | {rejects} | {ends} | {estimate.mean():+.4f} | {held} | "
        f"{time.perf_counter() - start:.0f} s |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--cells", default="", help="beginnings of names, separated by ';'; all by default")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print("| cell | truth | simulations | rejects | 99% interval | mean estimate | coverage | time |")
    print("|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(given.processes) as pool:
        for name in CELLS:
            if name.startswith(tuple(given.cells.split(";"))):
                print(run(name, given.simulations, pool), flush=True)


if __name__ == "__main__":
    main()
