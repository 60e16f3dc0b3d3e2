"""Extraction against the naive way, in one run: seconds, CPU seconds and GFLOP a query, and their ratios.

    python benchmarks/extraction.py [--queries 8] [--tokens 12] [--steps 20] [--kind gpt2|bert]

GPT-2 small (or BERT base) shape with random weights: integrated gradients of every MLP neuron, midpoint rule.
The naive way is what the peers do for every layer: all steps as one batch of whole prompts, forward and
backward through the whole model, gradients for activations only. It is timed as they write it, with logits
at every position, and with logits at the target only, which flatters it. All are checked to give the same
numbers. Wall seconds mean little on a machine that does something else too; CPU seconds (of all threads) mean
more, and the GFLOP are counted by torch, not timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from qloc.extract.architectures import sites
from qloc.extract.gradients import GradientEngine, proved
from qloc.extract.hooks import hooked, without_head
from qloc.extract.paths import ScaledPath, integrals
from qloc.extract.quadrature import quadrature
from qloc.extract.tokens import Target


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


def grown(engine: GradientEngine, targets: list[Target], steps: int) -> Tensor:
    """Attribution, (query, layer, neuron), by qloc's engine."""
    scores = {
        i: row
        for batch, found in integrals(engine, targets, ScaledPath.of(quadrature("midpoint", steps)))
        for i, row in zip(batch, found.step * found.mean_gradient, strict=True)
    }
    return torch.stack([scores[i] for i in range(len(targets))])


Taken = tuple[float, float]
"""Wall and CPU seconds a query."""


def timed(work: Callable[[], Tensor], n_queries: int) -> tuple[Tensor, Taken]:
    """What some work gives, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, ((time.perf_counter() - wall) / n_queries, (time.process_time() - cpu) / n_queries)


def counted(work: Callable[[], Tensor], n_queries: int) -> float:
    """GFLOP a query, of matrix products and attention, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9 / n_queries


def main() -> None:
    """Time both ways alternately and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    ways: dict[str, tuple[Callable[[], Tensor], int]] = {
        "naive": (lambda: naive(engine, targets[0], args.steps, every_position=True)[None], 1),
        "naive, target's logits only": (
            lambda: naive(engine, targets[0], args.steps, every_position=False)[None],
            1,
        ),
        "qloc": (lambda: grown(engine, targets, args.steps), args.queries),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    found: dict[str, Tensor] = {}
    for _ in range(args.repeats):
        for name, (work, n_queries) in ways.items():
            found[name], seconds = timed(work, n_queries)
            taken[name].append(seconds)
    print(f"{args.kind}: {args.tokens} tokens, {args.steps} steps, {torch.get_num_threads()} threads")
    flops = {name: counted(work, n_queries) for name, (work, n_queries) in ways.items()}
    for name, runs in taken.items():
        wall, cpu = (statistics.median(run[n] for run in runs) for n in (0, 1))
        times = [
            statistics.median(a[n] / b[n] for a, b in zip(runs, taken["qloc"], strict=True)) for n in (0, 1)
        ]
        ratios = "/".join(f"{ratio:.1f}" for ratio in (*times, flops[name] / flops["qloc"]))
        print(
            f"{name:>28}: {wall:7.3f} s, {cpu:7.3f} CPU s, {flops[name]:7.1f} GFLOP a query "
            f"({flops[name] / wall:.0f} GFLOP/s); {ratios} times qloc's"
        )
    plain = found["naive"][0]
    worst = max(float((other[0] - plain).abs().max() / plain.abs().max()) for other in found.values())
    print(f"largest relative difference of attributions: {worst:.1e}")


if __name__ == "__main__":
    main()
