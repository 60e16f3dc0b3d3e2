"""Extraction against the naive way, in one run: seconds and GFLOP a query, and their ratios.

    python benchmarks/extraction.py [--queries 8] [--tokens 12] [--steps 20] [--kind gpt2|bert]

GPT-2 small (or BERT base) shape with random weights: integrated gradients of every MLP neuron, midpoint rule. The
naive way is what the peers do for every layer: all steps as one batch of whole prompts, forward and backward
through the whole model, gradients for activations only, the vocabulary head at the last position only, which flatters
it. Both are checked to give the same numbers. The GFLOP are counted by torch, not timed: on a shared machine
trust these.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from qloc.extract.architectures import sites
from qloc.extract.attribution import ScaledPath, integrated_gradients
from qloc.extract.gradients import GradientEngine, proved
from qloc.extract.hooks import hooked, without_head
from qloc.extract.quadrature import quadrature
from qloc.extract.tokens import Target


def naive(engine: GradientEngine, target: Target, steps: int) -> Tensor:
    """Attribution, (layer, neuron): every layer's path through the whole model, whole prompts, one layer at a time."""
    path = ScaledPath.of(quadrature("midpoint", steps))
    alphas = torch.tensor(path.nodes[1:])
    ids, scores = torch.tensor([target.ids]), []
    for down in engine.sites.downs:
        kept: dict[str, Tensor] = {}

        def place(_: object, args: tuple[Tensor, ...], kept: dict[str, Tensor] = kept) -> tuple[Tensor, ...] | None:
            if "leaf" not in kept:
                kept["activation"] = args[0][0, target.position].detach()
                return None
            changed = args[0].clone()
            changed[:, target.position] = kept["leaf"]
            return (changed, *args[1:])

        with hooked(forward_pre={down: place}), without_head(engine.sites.head) as given:
            with torch.no_grad():
                engine.model(input_ids=ids)
            kept["leaf"] = (alphas[:, None] * kept["activation"]).requires_grad_(True)
            engine.model(input_ids=ids.expand(steps, -1))
        logits = engine.head.logits(given[1][:, target.position])
        (change,) = torch.autograd.grad(logits.softmax(-1)[:, target.token].sum(), kept["leaf"])
        scores.append(kept["activation"] * change.mean(0))
    return torch.stack(scores)


def grown(engine: GradientEngine, targets: list[Target], steps: int) -> Tensor:
    """Attribution, (query, layer, neuron), by qloc's engine."""
    path = ScaledPath.of(quadrature("midpoint", steps))
    found = engine.batches(targets, path.points, path.weight_matrix())
    scores = {i: row for batch, result in found for i, row in zip(batch, integrated_gradients(result, path).attribution, strict=True)}
    return torch.stack([scores[i] for i in range(len(targets))])


def main() -> None:
    """Time both ways alternately and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=8, help="queries in one batch of qloc's")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=("gpt2", "bert"), default="gpt2")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = (GPT2LMHeadModel(GPT2Config()) if args.kind == "gpt2" else BertForMaskedLM(BertConfig())).eval()
    model.requires_grad_(False)
    family = "causal" if args.kind == "gpt2" else "masked"
    ids = torch.randint(1000, 20000, (args.queries, args.tokens)).tolist()
    targets = [Target(ids=tuple(row), position=args.tokens - 1, token=row[0]) for row in ids]
    engine = GradientEngine(model=model, sites=sites(model), family=family, memory=8 * 10**9)
    engine = proved(engine, targets)
    seconds: dict[str, list[float]] = {"naive": [], "qloc": []}
    for _ in range(args.repeats):
        start = time.perf_counter()
        plain = naive(engine, targets[0], args.steps)
        seconds["naive"].append(time.perf_counter() - start)
        start = time.perf_counter()
        ours = grown(engine, targets, args.steps)
        seconds["qloc"].append((time.perf_counter() - start) / args.queries)
    worst = float((ours[0] - plain).abs().max() / plain.abs().max())
    flops = {}
    for name, work in (("naive", lambda: naive(engine, targets[0], args.steps)), ("qloc", lambda: grown(engine, targets, args.steps))):
        with FlopCounterMode(display=False) as counter:
            work()
        flops[name] = counter.get_total_flops() / 1e9 / (1 if name == "naive" else args.queries)
    print(f"{args.kind}, {args.tokens} tokens, {args.steps} steps, {torch.get_num_threads()} threads, engine {engine.kind}")
    for name in ("naive", "qloc"):
        median = statistics.median(seconds[name])
        print(f"{name:>6}: {median:7.3f} s a query   {flops[name]:8.1f} GFLOP a query   {flops[name] / median:6.1f} GFLOP/s")
    ratios = [a / b for a, b in zip(seconds["naive"], seconds["qloc"], strict=True)]
    print(f" ratio: {statistics.median(ratios):7.1f} in seconds      {flops['naive'] / flops['qloc']:8.1f} in GFLOP")
    print(f"largest relative difference of attributions: {worst:.1e}")


if __name__ == "__main__":
    main()
