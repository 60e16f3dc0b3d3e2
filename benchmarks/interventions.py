"""Interventions as rows against one change at a time: GPT-2 small shape, random weights, one query.

The naive way is what peers do: for every arm hook the neurons (or write the weights, and restore them), and
run the whole prompt again. Prints seconds, FLOP and ratios, and how far results differ.

    python benchmarks/interventions.py [--arms 40] [--tokens 12] [--edits 24]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from qloc.extract.architectures import down_weight, sites
from qloc.extract.changed_rows import Cells, RowEngine, sharing
from qloc.extract.edit_tests import EditTests
from qloc.extract.edits import Edit, erasure
from qloc.extract.outcomes import outcomes
from qloc.extract.tokens import Asked, Target
from qloc.facts import Query

N_CELLS = 20
"""Neurons of an arm."""


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, seconds (the better of two), GFLOP."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    seconds = []
    for _ in range(2):
        clock = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - clock)
    return found, min(seconds), counter.get_total_flops() / 1e9


def suppressed_one_by_one(model: Any, downs: Any, target: Target, arms: list[np.ndarray], width: int) -> Any:
    """Log P of the answer under each arm: hook, run the prompt, remove the hook."""
    found = []
    for arm in arms:
        handles = []
        for layer, down in enumerate(downs):
            neurons = torch.as_tensor(arm[arm // width == layer] % width)

            def zero(_: Any, args: Any, neurons: torch.Tensor = neurons) -> Any:
                changed = args[0].clone()
                changed[0, target.position, neurons] = 0
                return (changed,)

            handles.append(down.register_forward_pre_hook(zero))
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
        for handle in handles:
            handle.remove()
        found.append(float(logits.log_softmax(0)[target.token]))
    return np.array(found)


def edited_one_by_one(
    model: Any, downs: Any, targets: list[Target], edits: list[np.ndarray], width: int
) -> Any:
    """Log P of each answer under each edit: write the weights, run every prompt, restore them."""
    found = np.empty((len(edits), len(targets)))
    with torch.no_grad():
        for number, edit in enumerate(edits):
            kept = [(down_weight(downs[c // width]), c % width) for c in edit.tolist()]
            rows = [weight[:, neuron].clone() for weight, neuron in kept]
            for weight, neuron in kept:
                weight[:, neuron] = 0
            for place, target in enumerate(targets):
                logits = model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
                found[number, place] = float(logits.log_softmax(0)[target.token])
            for (weight, neuron), row in zip(kept, rows, strict=True):
                weight[:, neuron] = row
    return found


def main() -> None:
    """Measure both ways in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--edits", type=int, default=24)
    parser.add_argument("--queries", type=int, default=8)
    given = parser.parse_args()
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval().requires_grad_(False)
    found = sites(model)
    rng = np.random.default_rng(0)
    n_cells, width = found.n_layers * found.n_neurons, found.n_neurons
    prompts = rng.integers(0, 50257, size=(given.queries, given.tokens)).tolist()
    targets = [Target(ids=tuple(ids), position=given.tokens - 1, token=17) for ids in prompts]
    arms = [np.sort(rng.choice(n_cells, N_CELLS, replace=False)) for _ in range(given.arms)]
    engine = RowEngine(model=model, sites=found, family="causal", memory=8 * 10**9)
    engine = sharing(engine, targets[:1], 1e-3)
    cells = np.concatenate(arms)
    rows = np.repeat(np.arange(len(arms)), N_CELLS)
    change = Cells(
        row=rows,
        layer=cells // width,
        neuron=cells % width,
        factor=np.zeros(len(cells)),
        offset=np.zeros(len(cells)),
    )

    def as_rows() -> np.ndarray:
        which = np.zeros(len(arms), dtype=np.int64)
        logs = np.empty(len(arms))
        for done in engine.passes(targets[:1], which, change):
            said = outcomes(engine.head, done.hidden, [17] * len(done.rows))
            logs[done.rows] = said.log_probability
        return logs

    one = lambda: suppressed_one_by_one(model, found.downs, targets[0], arms, width)  # noqa: E731
    print(
        f"GPT-2 small shape, {given.tokens} tokens, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    compare(f"{given.arms} arms of {N_CELLS} neurons on one query", measured(one), measured(as_rows))

    some = [np.sort(rng.choice(n_cells, N_CELLS, replace=False)) for _ in range(given.edits)]
    asked = [Asked(query=Query(template="t", text="[Y]"), answer="", targets=(t,)) for t in targets]

    def edits_as_rows() -> np.ndarray:
        edits: list[Edit | None] = [erasure(found, edit) for edit in some]
        columns, _ = EditTests(engine=engine, edits=edits).answers(asked)
        return columns.log_probability.reshape(len(some), -1)

    one = lambda: edited_one_by_one(model, found.downs, targets, some, width)  # noqa: E731
    compare(f"{given.edits} edits, {given.queries} queries each", measured(one), measured(edits_as_rows))


def compare(title: str, naive: tuple[Any, float, float], rows: tuple[Any, float, float]) -> None:
    """Print one comparison."""
    print(f"\n{title}")
    print(f"  one at a time  {naive[1]:8.3f} s  {naive[2]:9.1f} GFLOP")
    print(f"  as rows        {rows[1]:8.3f} s  {rows[2]:9.1f} GFLOP")
    print(f"  ratio          {naive[1] / rows[1]:8.1f}    {naive[2] / rows[2]:9.1f}")
    print(f"  largest difference of log P: {np.abs(naive[0] - rows[0]).max():.1e}")


if __name__ == "__main__":
    main()
