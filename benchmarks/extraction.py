"""Extraction against the naive way, in one run: seconds, CPU seconds and GFLOP a query, and their ratios.

    python benchmarks/extraction.py [--queries 8] [--tokens 12] [--steps 20] [--kind gpt2|bert]

GPT-2 small (or BERT base) shape with random weights: integrated gradients of every MLP neuron, midpoint rule.
The naive way is what the peers (``peers.py``) do for every layer: all steps as one batch of whole prompts,
forward and backward through the whole model, gradients for activations only. It is timed as they write it,
with logits at every position, and with logits at the target only, which flatters it. All are checked to give
the same numbers.
"""

from __future__ import annotations

import argparse

import torch
from _measuring import attribution, build, costs, engine_of, shape, table, targets, write
from torch import Tensor

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.models.hooks import hooked, without_head
from qloc.extract.prompts.tokenizing import Target


def naive(engine: GradientEngine, target: Target, steps: int, *, every_position: bool) -> Tensor:
    """Attribution, (layer, neuron): each layer's path by whole prompts through the whole model."""
    alphas = torch.tensor(quadrature("midpoint", steps).nodes)
    ids, scores = torch.tensor([target.ids]), []
    for down in engine.sites.downs:
        kept: dict[str, Tensor] = {}

        def place(
            _: object, args: tuple[Tensor, ...], kept: dict[str, Tensor] = kept
        ) -> tuple[Tensor, ...] | None:
            if "leaf" not in kept:
                kept["activation"] = args[0][0, target.position].detach()
                return None
            changed = args[0].clone()
            changed[:, target.position] = kept["leaf"]
            return (changed, *args[1:])

        with hooked(forward_pre={down: place}):
            with torch.no_grad(), without_head(engine.sites.head):
                engine.model(input_ids=ids)
            kept["leaf"] = (alphas[:, None] * kept["activation"]).requires_grad_(True)
            if every_position:
                logits = engine.model(input_ids=ids.expand(steps, -1)).logits[:, target.position]
            else:
                with without_head(engine.sites.head) as given:
                    engine.model(input_ids=ids.expand(steps, -1))
                logits = engine.head.logits(given[0][:, target.position])
        (change,) = torch.autograd.grad(logits.softmax(-1)[:, target.token].sum(), kept["leaf"])
        scores.append(kept["activation"] * change.mean(0))
    return torch.stack(scores)


def main() -> None:
    """Time the ways in turn; print, and write ``results/extraction-KIND.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=8, help="queries in one batch of qloc's")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=("gpt2", "bert"), default="gpt2")
    args = parser.parse_args()
    config, family = shape(args.kind, num_hidden_layers=args.layers)
    model, asked = build(config, family), targets(args.queries, args.tokens, family, config.vocab_size)
    engine = engine_of(model, family, asked)
    first, found = asked[0], {}

    def plain(name: str, every_position: bool) -> None:
        found[name] = naive(engine, first, args.steps, every_position=every_position)

    def ours() -> None:
        found["qloc"] = attribution(engine, asked, "midpoint", args.steps)[0]

    ways = {
        "naive": (lambda: plain("naive", True), 1),
        "naive, target's logits only": (lambda: plain("naive, target's logits only", False), 1),
        "qloc": (ours, args.queries),
    }
    rows = table(costs(ways, args.repeats), "qloc")
    expected = found["naive"]
    for row in rows:
        off = (found[row["way"]] - expected).abs().max() / expected.abs().max()
        row["differs from naive by"] = float(off)
    title = f"{args.kind}'s shape, {args.layers} layers, {args.tokens} tokens, {args.steps} steps, a query"
    notes = f"{args.queries} queries in one batch of qloc's; rows join in the way '{engine.kind}'."
    write(f"extraction-{args.kind}", {title: rows}, notes)


if __name__ == "__main__":
    main()
