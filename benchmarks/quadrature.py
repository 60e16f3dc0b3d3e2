"""Quadrature rules against Gauss–Legendre 64: error of attributions and neuron sets, and cost.

    python benchmarks/quadrature.py [--kind causal|masked] [--queries 100]

Integrated gradients of an embedded model, in float64, over queries drawn with a seed. Per rule: rows a layer
that one query takes (gradients along the path; the row that gives P(0) among them; α = 1 is free), relative
L2 error over the whole network (median, 95th percentile, largest), Jaccard index of the neuron sets at 0.2 of
the maximum (mean; share of the queries whose sets are equal), and seconds of this process.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from numpy.typing import NDArray

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified
from qloc.extract.attribution.integrated_gradients import ScaledPath, integrals, path_of
from qloc.extract.attribution.quadrature import clenshaw_curtis, quadrature
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.signals.extraction import prepare
from qloc.plan import Plan

THRESHOLD = 0.2
FIXED = [
    ("right", 20),
    ("left", 20),
    ("endpoints", 20),
    ("midpoint", 20),
    ("gauss", 8),
    ("gauss", 10),
    ("gauss", 12),
    ("gauss", 16),
]
TOLERANCES = (0.05, 0.01, 0.002, 0.001)


def attributions(
    engine: GradientEngine, targets: list[Target], path: ScaledPath | Certified
) -> tuple[NDArray[np.float64], float]:
    """(query, layer · neuron), and the mean number of rows a layer."""
    found, rows = np.zeros((len(targets), engine.sites.n_layers * engine.sites.n_neurons)), 0
    for batch, result in integrals(engine, targets, path):
        found[batch] = (result.step * result.mean_gradient).flatten(1).numpy()
        rows += int(result.n_nodes.sum())
    return found, rows / (len(targets) * engine.sites.n_layers)


def members(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The neuron sets of queries."""
    return np.asarray(scores > THRESHOLD * scores.max(1, keepdims=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=("causal", "masked"), default="causal")
    parser.add_argument("--queries", type=int, default=100)
    args = parser.parse_args()
    study = prepare(Plan(model=f"embedded:{args.kind}", facts="embedded", dtype="float64", device="cpu"))
    every = [one.targets[0] for of_fact in study.asking.asked for one in of_fact]
    drawn = np.random.default_rng(0).permutation(len(every))[: args.queries]
    targets, engine = [every[n] for n in drawn], study.engine
    exact, _ = attributions(engine, targets, ScaledPath.of(quadrature("gauss", 64)))
    paths: dict[str, ScaledPath | Certified] = {
        f"{rule} {steps}": ScaledPath.of(quadrature(rule, steps)) for rule, steps in FIXED
    }
    paths |= {f"Clenshaw-Curtis {n}": ScaledPath.of(clenshaw_curtis(n)) for n in (8, 12, 16)}
    paths |= {f"adaptive 8, gap {tol:g}": ScaledPath.doubling(8, tol) for tol in TOLERANCES}
    for error in (0.01, 0.001, 0.0001):
        paths[f"certified {error:g}"] = path_of(Plan(quadrature_error=error), torch.float64)
    print(f"embedded:{args.kind}, {len(targets)} queries, engine {engine.kind}")
    print(f"{'rule':>22}  rows   error: median    95%  largest   Jaccard  equal  CPU s")
    for name, path in paths.items():
        clock = time.process_time()
        scores, rows = attributions(engine, targets, path)
        seconds = time.process_time() - clock
        error = np.linalg.norm(scores - exact, axis=1) / np.linalg.norm(exact, axis=1)
        ours, theirs = members(scores), members(exact)
        jaccard = (ours & theirs).sum(1) / np.maximum(1, (ours | theirs).sum(1))
        figures = " ".join(
            f"{value:8.1e}" for value in (np.median(error), np.quantile(error, 0.95), error.max())
        )
        print(
            f"{name:>22}  {rows:4.1f}       {figures}   {jaccard.mean():.4f}  {np.mean(jaccard == 1):5.0%}  "
            f"{seconds:5.1f}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
