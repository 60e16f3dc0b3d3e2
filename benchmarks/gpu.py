"""A large model's shape on an accelerator: queries a second, share of its peak, memory, hours of ParaRel.

    python benchmarks/gpu.py [--shape llama-2-7b] [--device cuda] [--dtype bfloat16] [--queries 32]
                             [--model MODEL] [--minutes 8]
    python benchmarks/gpu.py --shape tiny --device cpu    # a smoke test; what is done where there is no GPU

Random weights, made on the device. The peak is measured in the same run: plain products of large square
matrices in the same type. With real weights (``--model``; SmolLM2 where ``python -m
qloc.extract.models.fetch smollm2`` has put it) certified attributions are compared with those of the CPU. No
measurement begins once the minutes are over. The report names the machine that its figures come from.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measuring import attribution, engine_of, gflop_of, median, targets, write
from real_models import DEFAULT, Found, jaccard, study
from transformers import LlamaConfig, LlamaForCausalLM

from qloc.extract.attribution.integrated_gradients import path_of
from qloc.extract.models.fetch import MODELS, cache_folder
from qloc.plan import Plan

PARAREL = 224_468
"""Queries of ParaRel."""

SHAPES: dict[str, dict[str, Any]] = {
    "llama-2-7b": {},  # transformers' default
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 172,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 1000,
    },
}


def random_llama(shape: str, device: torch.device, dtype: torch.dtype) -> Any:
    """A LLaMA of this shape; its weights are made where they are used."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape]))
    finally:
        torch.set_default_dtype(before)
    return model.eval().requires_grad_(False)


def seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds of some work, everything on the device done."""
    work()
    taken = []
    for _ in range(repeats):
        _finish(device)
        start = time.perf_counter()
        work()
        _finish(device)
        taken.append(time.perf_counter() - start)
    return median(taken)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(size: int, device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Floating-point operations a second of a product of square matrices."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: left @ right, device, repeats)


def measured(args: argparse.Namespace, queries: int, best: float, model: Any) -> dict[str, Any]:
    """One row: a batch size."""
    device = next(model.parameters()).device
    asked = targets(queries, args.tokens, "causal", model.config.vocab_size)
    engine = engine_of(model, "causal", asked, int(args.memory * 1e9))
    engine = replace(engine, most_positions=args.positions)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    work = lambda: attribution(engine, asked, args.quadrature, args.steps)  # noqa: E731
    a_query = seconds(work, device, args.repeats) / queries
    flop = gflop_of(work) * 1e9 / queries
    used = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
    return {
        "queries together": queries,
        "engine": engine.kind,
        "queries a second": 1 / a_query,
        "TFLOP a query": flop / 1e12,
        "share of peak": flop / a_query / best,
        "peak memory, GB": used,
        "hours for ParaRel": PARAREL * a_query / 3600,
    }


def real_weights(model: str, device: torch.device, dtype: str, queries: int) -> list[dict[str, Any]]:
    """Queries a second on real weights, in both types; attributions in float32 against those of the CPU."""
    engine, asked, _ = study(model, "float32", 8)
    reference = Found(engine, asked, DEFAULT)
    rows = []
    for kind in ("float32", dtype):
        engine, asked, _ = study(model, kind, queries, str(device))
        own = path_of(Plan(), getattr(torch, kind))
        found = Found(engine, asked[: len(reference.scores)], own)
        largest = reference.scores.max((1, 2))[:, None, None]
        shared = jaccard(found.scores, reference.scores)
        rows.append(
            {
                "dtype": kind,
                "queries together": len(asked),
                "queries a second": len(asked) / seconds(lambda: Found(engine, asked, own), device, 1),  # noqa: B023
                "largest difference from the CPU's float32": float(
                    (np.abs(found.scores - reference.scores) / largest).max()
                ),
                "Jaccard with its sets": float(shared.mean()),
                "worst": float(shared.min()),
            }
        )
    return rows


def fetched_model() -> str | None:
    """SmolLM2's file, where it was fetched."""
    file = cache_folder() / MODELS["smollm2"].file
    return str(file) if file.is_file() else None


def main() -> None:
    """Measure, print, write ``results/gpu-SHAPE-DEVICE.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    there = torch.cuda.is_available()
    parser.add_argument("--shape", choices=SHAPES, default="llama-2-7b" if there else "tiny")
    parser.add_argument("--device", default="cuda" if there else "cpu")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quadrature", default="midpoint")
    parser.add_argument("--memory", type=float, default=40.0, help="GB that rows in flight may take")
    parser.add_argument("--positions", type=int, default=8192, help="rows in flight")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default=fetched_model(), help="real weights; none where not fetched")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing is begun")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    model = random_llama(args.shape, device, dtype)
    best = peak(8192 if device.type == "cuda" else 512, device, dtype, args.repeats)
    rows = []
    with suppress(torch.OutOfMemoryError):  # what fits is reported
        for queries in args.queries:
            if time.monotonic() < end:
                rows.append(measured(args, queries, best, model))
    if not rows:
        sys.exit(f"{args.queries[0]} queries together do not fit; give fewer by --queries, or less --memory")
    notes = (
        f"{args.dtype}, random weights, {args.tokens} tokens, {args.steps} nodes ({args.quadrature}); "
        f"peak of plain products {best / 1e12:.3g} TFLOP/s."
    )
    parts = {f"{args.shape} shape, random weights": rows}
    del model
    if args.model and time.monotonic() < end:
        title = f"{Path(args.model).name}, certified {Plan().quadrature_error}"
        parts[title] = real_weights(args.model, device, args.dtype, max(args.queries))
    write(f"gpu-{args.shape}-{device.type}", parts, notes, args.device)


if __name__ == "__main__":
    main()
