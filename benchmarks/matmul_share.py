"""How much of the machine's own rate of matrix products does the engine reach?

    python benchmarks/matmul_share.py [--kinds gpt2 bert] [--queries 8] [--tokens 12] [--repeats 5]

The share is the analytic number of floating-point operations over the time, divided by the rate of plain
``torch.mm`` in the same threads, measured in turn with it: rows times each shape of weight that the engine
multiplies with, and the best of these. Counted are products with weights, forward and backward: twice
rows × inputs × outputs; no attention, norm or activation function.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from _measuring import attribution, build, engine_of, gflop_of, median, shape, targets, write


def analytic(kind: str, config: Any, tokens: int, steps: int) -> float:
    """Floating-point operations of a query: products with weights, forward and backward.

    Layer l runs the unpatched row and ``rows`` rows of each layer below; a block has 12 width² weights, 3 of
    them before attention. Backward goes through what lies above a layer's down-projection.
    """
    rows, layers, square = steps + 1, config.num_hidden_layers, config.hidden_size**2
    alive = [1 + layer * rows for layer in range(layers)]
    ends, head = 1 + layers * rows, config.vocab_size * config.hidden_size
    neurons = 2 * layers * 4 * square  # from gradients in the residual stream to those of neurons
    if kind == "gpt2":
        prompt = (tokens - 1) * layers * 12 * square
        return float(2 * (prompt + (sum(alive) + sum(alive[1:])) * 12 * square + 2 * ends * head + neurons))
    whole = (sum(alive[:-1]) + sum(alive[1:-1])) * tokens * 12 * square
    token = (layers - 1) * rows * 12 * square
    last = 2 * alive[-1] * tokens * 3 * square + ends * 12 * square + alive[-1] * 9 * square
    return float(2 * (whole + token + last + 2 * ends * (square + head) + neurons))


def rate(rows: int, config: Any, weight: dict[str, torch.Tensor]) -> dict[str, float]:
    """Operations a second of plain products of ``rows`` with each weight."""
    found = {}
    for name, matrix in weight.items():
        given = torch.randn(rows, matrix.shape[0])
        start = time.perf_counter()
        torch.mm(given, matrix)
        found[name] = 2 * rows * matrix.numel() / (time.perf_counter() - start)
    return found


def share(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """One row: rates of the engine and of plain products, in turn."""
    config, family = shape(kind, num_hidden_layers=args.layers)
    model, asked = build(config, family), targets(args.queries, args.tokens, family, config.vocab_size)
    engine = engine_of(model, family, asked)
    width, inner = config.hidden_size, 4 * config.hidden_size
    weights = {
        "up": torch.randn(width, inner),
        "down": torch.randn(inner, width),
        "square": torch.randn(width, width),
        "head": torch.randn(width, config.vocab_size),
    }
    flop = analytic(kind, config, args.tokens, args.steps)
    ours, plain, best = [], [], []
    for _ in range(args.repeats + 1):
        found = rate(args.rows, config, weights)
        start = time.perf_counter()
        attribution(engine, asked, "midpoint", args.steps)
        ours.append(flop * len(asked) / (time.perf_counter() - start))
        plain.append(found)
    ours, plain = ours[1:], plain[1:]  # the first warms up
    best = [max(found.values()) for found in plain]
    return {
        "shape": kind,
        "analytic GFLOP a query": flop / 1e9,
        "GFLOP a query as torch counts": gflop_of(
            lambda: attribution(engine, asked[:1], "midpoint", args.steps)
        ),
        "engine, GFLOP/s": median(ours) / 1e9,
        **{f"mm {name}, GFLOP/s": median(found[name] for found in plain) / 1e9 for name in weights},
        "share of the best": median(a / b for a, b in zip(ours, best, strict=True)),
    }


def main() -> None:
    """Measure, print, write ``results/matmul_share.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=["gpt2", "bert"])
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1024, help="of the plain products")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    notes = f"Plain products: float32, {args.rows} rows, in the same threads, in turn with the engine."
    write(
        "matmul_share",
        {"share of the rate of plain products": [share(kind, args) for kind in args.kinds]},
        notes,
    )


if __name__ == "__main__":
    main()
