"""Causal tracing: restored rows against one restoration a pass, on GPT-2 small's or BERT base's shape.

    OMP_NUM_THREADS=2 python benchmarks/tracing.py [--kind bert] [--tokens 10] [--samples 10] [--layers 12]

One restoration a pass is how it is published: all corrupted prompts side by side run every layer of whole
prompts with one state restored, and logits at every position. Traced are the subject's tokens (the second
to the fourth), those behind it and the last one, in every layer, of blocks, MLPs and attention, with the
windows of the plan's defaults; weights are random. The largest difference of log-odds between the ways is
checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _measuring import build, costs, shape, table, targets, write

from qloc.extract.models.architectures import sites
from qloc.extract.models.hooks import hooked, in_turn
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.tracing.proof import proved
from qloc.extract.tracing.restored_rows import TracingEngine, Windows
from qloc.extract.tracing.states import Prompts
from qloc.phase_plan import TracingPlan

SUBJECT = (1, 2, 3)
"""Positions of the subject's tokens."""


def one_by_one(
    engine: TracingEngine, target: Target, corrupted: Prompts, positions: np.ndarray, windows: Windows
) -> np.ndarray:
    """Log-odds, (part, position, layer, prompt), by plain hooks."""
    model, traced, last = engine.engine.model, engine.traced, target.position
    modules = {"residual": traced.sites.blocks, **traced.projections()}
    clean: dict[tuple[str, int], torch.Tensor] = {}

    def keep(part: str, layer: int) -> Any:
        def hook(_: Any, args: Any, output: Any) -> None:
            clean[part, layer] = (output[0] if isinstance(output, tuple) else output)[0].clone()

        return hook

    def restore(part: str, layer: int, position: int, window: range) -> Any:
        def hook(_: Any, args: Any, output: Any) -> Any:
            if layer not in window:
                return None
            first = output[0] if isinstance(output, tuple) else output
            changed = first.clone()
            changed[:, position] = clean[part, layer][position]
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    ids = torch.tensor([target.ids])
    hooks = [
        (module, keep(part, layer))
        for part, of_part in modules.items()
        for layer, module in enumerate(of_part)
    ]
    with torch.no_grad(), hooked(forward=in_turn(hooks)):
        model(input_ids=ids)
    found = []
    for part, of_layers in windows.items():
        for position in positions.tolist():
            for window in of_layers:
                placed = in_turn(
                    (module, restore(part, layer, position, window))
                    for layer, module in enumerate(modules[part])
                )
                with torch.no_grad(), corrupted.noised(traced.embedding), hooked(forward=placed):
                    logits = model(input_ids=corrupted.ids).logits[:, last]
                others = logits.clone()
                others[:, target.token] = -torch.inf
                found.append((logits[:, target.token] - others.logsumexp(1)).double().numpy())
    return np.stack(found).reshape(len(windows), len(positions), -1, len(corrupted.ids))


def main() -> None:
    """Measure both ways in one run, print the ratios, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("gpt2", "bert"), default="gpt2")
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    named = "n_layer" if given.kind == "gpt2" else "num_hidden_layers"
    config, family = shape(given.kind, **{named: given.layers})
    model = build(config, family)
    (target,) = targets(1, given.tokens, family, config.vocab_size)
    windows = TracingPlan().windows(given.layers)
    engine = RowEngine(model=model, sites=sites(model), family=family, memory=8 * 10**9)
    rows = proved(engine, [target], windows)
    ids = torch.tensor([target.ids]).expand(given.samples, -1)
    noise = torch.zeros(*ids.shape, config.hidden_size)
    drawn = torch.randn(
        given.samples, len(SUBJECT), config.hidden_size, generator=torch.Generator().manual_seed(2)
    )
    noise[:, SUBJECT] = 3 * config.initializer_range * drawn
    positions = np.array([place for place in range(SUBJECT[0], len(target.ids)) if place <= target.position])
    clean, corrupted = Prompts(ids=ids[:1]), Prompts(ids=ids, noise=noise)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "one restoration a pass": lambda: one_by_one(rows, target, corrupted, positions, windows),
        "qloc": lambda: (
            rows.trace(clean, corrupted, positions, (target.position, target.token), windows).restored
        ),
    }
    expected = ways["one restoration a pass"]()
    worst = float(np.abs(ways["qloc"]() - expected).max())
    print(f"{expected.size} restorations: largest difference of log-odds {worst:.1e}", flush=True)
    if not worst < 1e-3:
        raise AssertionError(f"the ways differ by {worst}")
    title = f"{given.kind}, {given.layers} layers, {given.tokens} tokens, {given.samples} samples"
    measured = table(costs({name: (way, 1) for name, way in ways.items()}, given.repeats), "qloc")
    write(f"tracing-{given.kind}", {title: measured}, _NOTES)


_NOTES = """\
One restoration a pass: every corrupted prompt side by side, all layers of whole prompts, logits at every
position. qloc: rows join behind the restored layer, run the tokens from the restored one on (causal models),
and the last block at the target alone."""


if __name__ == "__main__":
    main()
