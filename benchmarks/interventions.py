"""Interventions and edits as rows against one at a time: GPT-2 small's or BERT base's shape, random weights.

    OMP_NUM_THREADS=2 python benchmarks/interventions.py [--kind bert] [--arms 40] [--edits 24] [--queries 8]

One at a time, a set is suppressed by hooks that are placed for one pass and removed, an edit by writing its
rows of weights, running every query, and writing them back. The package knowledge-neurons 0.0.2 does
the same for one query a call (``suppress_knowledge``, ``erase_knowledge``), and runs it before and after:
two passes, logits at every position. Sets are drawn over all layers, or, as knowledge neurons lie, in the
upper third. The largest difference of log P between the ways is checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from _measuring import build, costs, shape, table, targets, write
from torch import Tensor

from qloc.extract.edits.erase_and_update import erasure
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.models.architectures import Sites, down_weight, sites
from qloc.extract.models.hooks import hooked
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.outcomes import outcomes
from qloc.extract.passes.row_engine import Cells, RowEngine, sharing
from qloc.extract.passes.weight_changes import Edit
from qloc.extract.prompts.tokenizing import Family, Target, TokenizedQuery
from qloc.facts import Query

N_CELLS = 20
"""Neurons of an arm, slots of an edit."""

Sets = list[np.ndarray]
"""Neuron numbers layer · n_neurons + index of each arm or edit."""


@dataclass(frozen=True)
class OneByOne:
    """The naive way; ``passes`` of the unchanged model come before each changed one."""

    model: Any
    sites: Sites
    passes: int = 0

    def suppressed(self, asked: list[Target], sets: Sets) -> np.ndarray:
        """Log P of each answer under each arm, (arm, query)."""
        return np.array([[self._under(self._hooks(t, one), t) for t in asked] for one in sets])

    def edited(self, asked: list[Target], sets: Sets) -> np.ndarray:
        """Log P of each answer under each edit, (edit, query)."""
        if self.passes:
            return np.array([[self._under(self._weights(one), t) for t in asked] for one in sets])
        found = []
        for one in sets:
            with self._weights(one):
                found.append([self._log(target) for target in asked])
        return np.array(found)

    def _under(self, change: Any, target: Target) -> float:
        for _ in range(self.passes):
            self._log(target)
        with change:
            return self._log(target)

    @torch.no_grad()
    def _log(self, target: Target) -> float:
        logits = self.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
        return float(logits.log_softmax(0)[target.token])

    def _hooks(self, target: Target, chosen: np.ndarray) -> Any:
        layer, neuron = np.divmod(chosen, self.sites.n_neurons)

        def zero(neurons: np.ndarray) -> Callable[..., tuple[Tensor]]:
            def hook(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
                changed = args[0].clone()
                changed[0, target.position, neurons] = 0
                return (changed,)

            return hook

        return hooked(forward_pre={self.sites.downs[n]: zero(neuron[layer == n]) for n in np.unique(layer)})

    @contextmanager
    def _weights(self, chosen: np.ndarray) -> Iterator[None]:
        slots = [divmod(int(cell), self.sites.n_neurons) for cell in chosen]
        weights = [down_weight(self.sites.downs[layer]) for layer, _ in slots]
        kept = [weight[:, n].clone() for weight, (_, n) in zip(weights, slots, strict=True)]
        for weight, (_, neuron) in zip(weights, slots, strict=True):
            weight[:, neuron] = 0
        try:
            yield
        finally:
            for weight, (_, neuron), row in zip(weights, slots, kept, strict=True):
                weight[:, neuron] = row


@dataclass(frozen=True)
class AsRows:
    """qloc's way."""

    engine: RowEngine

    def suppressed(self, asked: list[Target], sets: Sets) -> np.ndarray:
        """As :meth:`OneByOne.suppressed`."""
        target, arm = np.divmod(np.arange(len(asked) * len(sets)), len(sets))
        row = np.repeat(np.arange(len(arm)), N_CELLS)
        layer, neuron = np.divmod(np.concatenate([sets[n] for n in arm]), self.engine.sites.n_neurons)
        zero = np.zeros(len(row))
        cells = Cells(row=row, layer=layer, neuron=neuron, factor=zero, offset=zero)
        found = np.empty((len(sets), len(asked)))
        for done in self.engine.passes(asked, target, cells):
            answers = [asked[n].token for n in target[done.rows]]
            said = outcomes(self.engine.head, done.hidden, answers)
            found[arm[done.rows], target[done.rows]] = said.log_probability
        return found

    def edited(self, asked: list[Target], sets: Sets) -> np.ndarray:
        """As :meth:`OneByOne.edited`."""
        edits: list[Edit | None] = [erasure(self.engine.sites, one) for one in sets]
        query = Query(template="t", text="[Y]")
        columns, _ = EditTests(engine=self.engine, edits=edits).answers(
            [TokenizedQuery(query=query, answer="", targets=(target,)) for target in asked]
        )
        return columns.log_probability.reshape(len(edits), -1)


def compared(title: str, ways: dict[str, Callable[[], np.ndarray]], repeats: int) -> list[dict[str, Any]]:
    """Rows of the table: seconds, GFLOP, and how many times as much as qloc takes."""
    expected = ways["one at a time"]()
    for name, way in ways.items():
        worst = np.abs(way() - expected).max()
        print(f"{title}, {name}: largest difference of log P {worst:.1e}", flush=True)
        if not worst < 1e-4:
            raise AssertionError(f"{name} differs by {worst}")
    return table(costs({name: (way, 1) for name, way in ways.items()}, repeats), "qloc")


def main() -> None:
    """Measure every way in turn, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("gpt2", "bert"), default="gpt2")
    parser.add_argument("--arms", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--edits", type=int, default=24)
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--arm-queries", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--what", nargs="+", choices=("arms", "edits"), default=["arms", "edits"])
    given = parser.parse_args()
    config, family = shape(given.kind)
    model = build(config, family)
    asked = targets(given.queries, given.tokens, family, config.vocab_size)
    parts = {}
    for where in ("the upper third", "all layers"):
        for what, n, some in (
            ("arms", given.arms, asked[: given.arm_queries]),
            ("edits", given.edits, asked),
        ):
            if what not in given.what:
                continue
            title = f"{n} {what} of {N_CELLS} neurons of {where}, {len(some)} queries"
            parts[title] = compared(
                title, _ways(what, model, family, some, _drawn(n, where, sites(model))), given.repeats
            )
    only = f"-{given.arms * given.arm_queries}-arms" if given.what == ["arms"] else ""
    write(f"interventions-{given.kind}{only}", parts, _NOTES)


def _drawn(n: int, where: str, found: Sites) -> Sets:
    rng, n_cells = np.random.default_rng(0), found.n_layers * found.n_neurons
    lowest = n_cells * 2 // 3 if where == "the upper third" else 0
    return [np.sort(rng.choice(np.arange(lowest, n_cells), N_CELLS, replace=False)) for _ in range(n)]


def _ways(
    what: str, model: Any, family: Family, asked: list[Target], sets: Sets
) -> dict[str, Callable[[], np.ndarray]]:
    found, method = sites(model), "suppressed" if what == "arms" else "edited"
    engine = RowEngine(model=model, sites=found, family=family, memory=8 * 10**9)
    if what == "arms":
        engine = sharing(engine, asked[:1], 1e-3)
    engine = joining(engine, asked[:1], "cells" if what == "arms" else "edits")
    ways = {
        "as knowledge-neurons 0.0.2 does it": OneByOne(model, found, passes=1),
        "one at a time": OneByOne(model, found),
        "rows that run all layers": AsRows(replace(engine, way=None)),
        "qloc": AsRows(engine),
    }
    return {name: partial(getattr(way, method), asked, sets) for name, way in ways.items()}


_NOTES = """\
One at a time: hooks for a pass, or weights written, every query run, and weights written back; each pass runs
one prompt, with logits at every position. As knowledge-neurons 0.0.2 does it: the same for one query a call,
which is run before and after the change."""


if __name__ == "__main__":
    main()
