"""Do tests keep their level, find what is planted, and do their intervals cover? docs/statistics.md.

    nice python benchmarks/calibration.py [--simulations 2000] [--cells "NAME;NAME"] [--processes 2]
        [--results NAME]

Deterministic by seed: simulation i of a cell has seed i. A test keeps its level where 5% is within or above
the exact 99% interval of its rejection rate. Coverage: of the mean estimate over all simulations (under a
null, of 0), by 95% intervals, over those in which the test is identified. Rows named "practice" show what
is common instead. Times are of the processor, a simulation. ``--results NAME`` keeps the table in
``results/calibration-NAME.md``, written anew after each row.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import scipy
from calibration_cells import CELLS as OF_SETS
from calibration_choices import CELLS as OF_CHOICES
from calibration_compare import CELLS as OF_MODELS
from calibration_effects import CELLS as OF_EFFECTS
from calibration_margins import CELLS as OF_MARGINS
from calibration_syntax import CELLS as OF_SYNTAX
from calibration_tracing import CELLS as OF_TRACING
from numpy.typing import NDArray
from scipy import stats

from qloc.version import __version__

CELLS = {**OF_SETS, **OF_MARGINS, **OF_EFFECTS, **OF_MODELS, **OF_SYNTAX, **OF_TRACING, **OF_CHOICES}
RESULTS = Path(__file__).parent / "results"
HEAD = (
    "| cell | truth | simulations | rejects | 99% interval | kept | mean estimate | coverage | time |",
    "|---|---|---|---|---|---|---|---|---|",
)


def one(names: tuple[str, ...], seed: int) -> list[tuple[float, float, float, float, float]]:
    """Of each cell: estimate, p, and the 95% interval of one simulated study; seconds of the processor."""
    found = []
    for name in names:
        begun = time.process_time()
        found.append((*CELLS[name].simulate(seed), time.process_time() - begun))
    return found


def run(names: tuple[str, ...], n: int, pool: ProcessPoolExecutor) -> list[str]:
    """Rows of the table."""
    outcomes = np.array(list(pool.map(partial(one, names), range(n), chunksize=max(1, n // 40))))
    return [row(name, outcomes[:, place]) for place, name in enumerate(names)]


def row(name: str, outcomes: NDArray[np.float64]) -> str:
    """One row of the table."""
    cell, n = CELLS[name], len(outcomes)
    estimate, p, low, high, seconds = outcomes.T
    rejects, ends, kept = "–", "–", ""
    if not np.isnan(p).all():
        rejected = int(np.sum(p <= 0.05))
        interval = stats.binomtest(rejected, n, 0.05).proportion_ci(0.99)
        rejects, ends = f"{100 * rejected / n:.1f}%", f"{100 * interval.low:.1f}–{100 * interval.high:.1f}%"
        if cell.truth == "null":
            kept = "yes" if interval.low <= 0.05 else "**no**"
    defined = ~np.isnan(estimate)  # where it is not, the test said so and gave no interval either
    mean = float(estimate[defined].mean()) if defined.any() else np.nan
    target = 0.0 if cell.truth == "null" else mean
    covered = np.mean(((low <= target) & (target <= high))[defined]) if defined.any() else np.nan
    held = "–" if np.isnan(low).all() else f"{100 * covered:.1f}%"
    return (
        f"| {name} | {cell.truth} | {n:,} | {rejects} | {ends} | {kept} | {mean:+.4f} | {held} | "
        f"{1000 * seconds.mean():.0f} ms |"
    )


def page(rows: list[str]) -> str:
    """The table, what made it and where."""
    words = (f'"{word}"' if ";" in word or " " in word else word for word in sys.argv)
    made = {"qloc": __version__, "numpy": np.__version__, "scipy": scipy.__version__}
    made |= {"Python": platform.python_version(), "on": f"{platform.machine()}, {os.cpu_count()} cores"}
    described = ", ".join(f"{name} {value}" for name, value in made.items())
    lines = [
        "# Calibration",
        f"`{' '.join(['python', *words])}`",
        f"Simulation i of a cell has seed i. {described}.",
    ]
    return "\n\n".join([*lines, "\n".join([*HEAD, *rows])]) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--cells", default="", help="beginnings of names, separated by ';'; all by default")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", metavar="NAME", help="keep the table in results/calibration-NAME.md")
    given = parser.parse_args()
    print(*HEAD, sep="\n")
    rows: list[str] = []
    with ProcessPoolExecutor(given.processes) as pool:
        wanted = [name for name in CELLS if name.startswith(tuple(given.cells.split(";")))]
        for _, names in groupby(wanted, key=lambda name: CELLS[name].group or name):
            found = run(tuple(names), given.simulations, pool)
            print(*found, sep="\n", flush=True)
            rows += found
            if given.results:
                (RESULTS / f"calibration-{given.results}.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
