"""Neuron sets in half precision against those of float32: the Jaccard index of every query's two sets.

    python benchmarks/half_precision.py [--model embedded:causal] [--facts-of-a-relation 4] [--steps 20]

Extracts the same facts three times, the model in float32, bfloat16 and float16 (gradients are summed and
everything is stored in float32 each time), and compares the stores as `qloc store diff` does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from _measuring import write

from qloc.plan import Plan
from qloc.workflows.exchange import diff
from qloc.workflows.extract import extract_study

DTYPES = ("float32", "bfloat16", "float16")


def main() -> None:
    """Extract three times, compare, write ``results/half_precision.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded:causal")
    parser.add_argument("--facts", default="embedded")
    parser.add_argument("--facts-of-a-relation", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threshold", type=float, default=0.2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stores = {dtype: Path(folder) / f"{dtype}.zarr" for dtype in DTYPES}
        for dtype, store in stores.items():
            plan = Plan(
                model=args.model,
                facts=args.facts,
                max_facts=args.facts_of_a_relation,
                steps=args.steps,
                methods=("ig", "grad_x_act"),
                dtype=dtype,
            )
            extract_study(plan, store)
        found = {
            dtype: diff(stores["float32"], stores[dtype], threshold=args.threshold) for dtype in DTYPES[1:]
        }
    rows = [
        {
            "model in": dtype,
            "method": method,
            "queries": told["queries"],
            "Jaccard with float32, mean": sets["mean"],
            "at worst": sets["min"],
            "share equal": sets["exact"],
        }
        for dtype, told in found.items()
        for method, sets in told["sets"].items()
    ]
    title = f"{args.model}, {args.steps} midpoints, neurons over {args.threshold} of the largest"
    write("half_precision", {title: rows}, "Everything but the model's own arithmetic is float32 in each.")


if __name__ == "__main__":
    main()
