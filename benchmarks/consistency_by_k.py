"""How consistency scores move with the number of paraphrases alone: the same facts, first k queries.

    python benchmarks/consistency_by_k.py [--facts 1500]

Planted facts of eight queries each (seed 0), of which nothing changes but how many are looked at.
"""

from __future__ import annotations

import argparse

import numpy as np

from qloc.analysis.localization.consistency import consistency, first_queries
from qloc.simulation.planted import plant


def main() -> None:
    """Print the table of docs/methods.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=int, default=1500)
    facts = parser.parse_args().facts
    sets = plant(facts=facts, relations=20, templates=8, known=1.0, leaking=0.0, missing=0.0, seed=0).sets()
    print("| k | CS1 | CS2 | D | κ |\n|---|---|---|---|---|")
    for k in (2, 3, 4, 6, 8):
        scores = consistency(first_queries(sets, k))
        means = (float(np.nanmean(scores[name])) for name in ("CS1", "CS2", "D", "kappa"))
        print(f"| {k} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
