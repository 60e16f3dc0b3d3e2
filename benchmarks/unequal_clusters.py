"""Do intervals of a mean cover where relations are unequal or share answers? docs/statistics.md#intervals.

    python benchmarks/unequal_clusters.py [--simulations 1000]

Deterministic by seed. Values are sums of normal effects of relation, answer and fact, drawn here and not by
``qloc simulate``; every fact has one of five answers, which are its relation's own or those of all relations.
Three errors are compared on the same values: G − 1 degrees of freedom with clusters weighed equally, the
effective number of clusters G* in place of G, and :func:`qloc.analysis.inference.cluster_error.mean_error`.
Printed: coverage of 0 by 95% intervals, and one-sided rejections of 0 at 5%.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qloc.analysis.inference.cluster_error import effective_number, mean_error
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.arrays import Floats, Ints

N_ANSWERS: Final = 5
SEED: Final = 11

_UNEQUAL = np.array([72, 34, 20, 13, 9, 6, 4, 2])
_UNEQUAL_40 = np.maximum(2, np.round(480 * np.random.default_rng(1).dirichlet(np.full(40, 0.7)))).astype(int)

REGIMES: Final[tuple[tuple[str, NDArray[np.int_], float, float, float], ...]] = (
    ("8 relations of 72 to 2 facts that differ", _UNEQUAL, 0.0, 1.0, 0.3),
    ("the same, 60% of answers in all relations", _UNEQUAL, 0.6, 0.3, 1.0),
    ("8 relations of 20, 60% of answers in all relations, which differ", np.full(8, 20), 0.6, 0.3, 1.0),
    ("40 relations of 12, likewise", np.full(40, 12), 0.6, 0.3, 1.0),
    ("40 relations of 2 to 60, likewise", _UNEQUAL_40, 0.6, 0.3, 1.0),
    ("20 relations of 12 that differ, 60% of answers in all of them", np.full(20, 12), 0.6, 1.0, 0.3),
)
"""Name, sizes of relations, share of answers that are common, sd of relation and of answer (of a fact: 1)."""

Error = Callable[[Floats, Ints, Ints], tuple[float, float]]


def _sums(x: Floats, code: Ints) -> float:
    return float(np.sum(np.bincount(code, weights=x - x.mean()) ** 2) / len(x) ** 2)


def _two_way(x: Floats, relation: Ints, answer: Ints, number: Callable[[Ints], float]) -> tuple[float, float]:
    """Return error and degrees of freedom where a way has ``number(code)`` clusters."""

    def one(code: Ints) -> float:
        n = number(code)
        return n / (n - 1) * _sums(x, code)

    variance = max(one(relation), one(relation) + one(answer) - one(codes(relation, answer)))
    return float(np.sqrt(variance)), min(number(relation), number(answer)) - 1


ERRORS: Final[dict[str, Error]] = {
    "G − 1, equal weights": lambda x, r, a: _two_way(x, r, a, lambda code: float(n_codes(code))),
    "G* alone": lambda x, r, a: _two_way(x, r, a, effective_number),
    "as here": lambda x, r, a: mean_error(x, (r, a)),
}


def simulate(
    sizes: NDArray[np.int_], common: float, of_relation: float, of_answer: float, n: int
) -> dict[str, tuple[float, float]]:
    """Return coverage and one-sided rejections of each error, over ``n`` simulations of a mean of 0."""
    counts = {name: [0, 0] for name in ERRORS}
    for i in range(n):
        rng = np.random.default_rng([SEED, i])
        relation = np.repeat(np.arange(len(sizes)), sizes)
        place = rng.integers(N_ANSWERS, size=len(relation))
        shared = place < round(common * N_ANSWERS)
        answer = codes(np.where(shared, place, (relation + 1) * N_ANSWERS + place))
        fact = rng.standard_normal(len(relation))
        x = of_relation * rng.standard_normal(len(sizes))[relation]
        x = x + of_answer * rng.standard_normal(n_codes(answer))[answer] + fact
        for name, error in ERRORS.items():
            se, freedom = error(x, relation, answer)
            counts[name][0] += abs(x.mean()) <= stats.t.ppf(0.975, freedom) * se
            counts[name][1] += stats.t.sf(x.mean() / se, freedom) <= 0.05
    return {name: (covered / n, rejected / n) for name, (covered, rejected) in counts.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    n = parser.parse_args().simulations
    print(f"| facts | {' | '.join(ERRORS)} |")
    print("|---" * (1 + len(ERRORS)) + "|")
    for name, sizes, common, of_relation, of_answer in REGIMES:
        rates = simulate(sizes, common, of_relation, of_answer, n)
        cells = (f"{covered:.1%}, {rejected:.1%}" for covered, rejected in rates.values())
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
