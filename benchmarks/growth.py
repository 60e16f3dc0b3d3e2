"""How the work of a query grows with layers, prompt, batch and vocabulary.

    python benchmarks/growth.py [--width 256] [--steps 20] [--repeats 3]

A GPT-2 and a BERT of ``--width``, random weights; one thing is changed at a time from 6 layers, 12 tokens, a
batch of 4 and a vocabulary of 20,000.
"""

from __future__ import annotations

import argparse
from typing import Any

from _measuring import attribution, build, costs, engine_of, median, shape, targets, write

USUAL = {"layers": 6, "tokens": 12, "batch": 4, "vocabulary": 20_000}
GROWING = {
    "layers": (3, 6, 12, 24),
    "tokens": (6, 12, 24, 48),
    "batch": (1, 2, 4, 8, 16),
    "vocabulary": (5_000, 20_000, 80_000),
}


def measured(kind: str, args: argparse.Namespace, **changed: int) -> dict[str, Any]:
    """A row: what a query takes where one thing is changed."""
    size = {**USUAL, **changed}
    gpt = {"n_embd": args.width, "n_layer": size["layers"], "n_head": args.width // 64}
    bert = {
        "hidden_size": args.width,
        "intermediate_size": 4 * args.width,
        "num_hidden_layers": size["layers"],
        "num_attention_heads": args.width // 64,
    }
    config, family = shape(kind, vocab_size=size["vocabulary"], **(gpt if kind == "gpt2" else bert))
    model, asked = build(config, family), targets(size["batch"], size["tokens"], family, size["vocabulary"])
    engine = engine_of(model, family, asked)
    found = costs(
        {"qloc": (lambda: attribution(engine, asked, "midpoint", args.steps), len(asked))}, args.repeats
    )
    runs = found["qloc"]
    return {
        **{("of " + name if name in changed else name): value for name, value in size.items()},
        "GFLOP": runs[0].gflop,
        "seconds": median(cost.wall for cost in runs),
        "CPU seconds": median(cost.cpu for cost in runs),
    }


def main() -> None:
    """Measure, print, write ``results/growth.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    parts = {
        f"{kind}, growing {name}, a query": [measured(kind, args, **{name: value}) for value in values]
        for kind in ("gpt2", "bert")
        for name, values in GROWING.items()
    }
    write("growth", parts, f"Width {args.width}, {args.steps} midpoints; one thing is changed at a time.")


if __name__ == "__main__":
    main()
