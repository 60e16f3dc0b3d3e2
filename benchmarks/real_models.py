"""Quadrature rules and costs on a real pretrained model: neuron sets against a converged reference.

    python benchmarks/real_models.py MODEL [--queries 100] [--facts 4]
                                     [--rules LIST] [--threads 2]
                             [--parts accuracy,equal,paths,cost,phases,brute,half,strength]

MODEL is a folder, an id or a .gguf file (``python -m qloc.extract.models.fetch smollm2`` gets one). The
queries are capitals and languages of countries, in six wordings each; those whose answer the model ranks
first are kept.

- ``accuracy``: each rule in float32 against certified quadrature in float64 with a bound of 1e-5. Gradients a
  layer; work against ``midpoint`` 20 (multiplications of rows in blocks and head, counted by their sizes);
  Jaccard index of the neuron sets at .1, .2 and .3 of the maximum (mean, worst); the largest error of a
  neuron that reaches the floor, relative to the maximum; how often it is more than its bound; and D, the mean
  pairwise Dice index of a fact's sets. The reference is itself compared with Gauss–Legendre 128 and 256, in
  float64, on two queries. How many neurons a fact's panel needs.
- ``equal``: how many Gauss–Legendre nodes, the same on every layer as captum has them, give the sets of
  certified quadrature.
- ``paths``: P along the path of the layer that took most gradients, and of the median layer.
- ``cost``: seconds, CPU seconds and GFLOP a query, naive (one layer at a time, as captum does it) and ours,
  timed in turn. Only with nothing else running.
- ``phases``, ``strength``: ``_real_phases.py``. CPU seconds and GFLOP of each phase; updates of several
  strengths, what they do to unrelated prompts.
- ``brute``, ``half``: ``_real_proof.py``. Stored numbers against the plain model in float64; sets in
  bfloat16 against those in float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Collection
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _countries import study_facts
from _measuring import Cost, costs, table, write
from extraction import naive
from numpy.typing import NDArray

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified
from qloc.extract.attribution.integrated_gradients import ScaledPath, integrals, path_of
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.signals.extraction import prepare
from qloc.plan import Plan

FLOOR = Plan().floor
DEFAULT = path_of(Plan(), torch.float32)  # certified, 0.001
MIDPOINT = ScaledPath.of(quadrature("midpoint", 20))
RULES: dict[str, ScaledPath | Certified] = {
    "right 1": ScaledPath.of(quadrature("right", 1)),
    "right 20 (as published)": ScaledPath.of(quadrature("right", 20)),
    "midpoint 20": MIDPOINT,
    "adaptive 8": ScaledPath.doubling(8, 0.002),
    "certified 0.001": DEFAULT,
    "certified 0.001 without thresholds": path_of(Plan(quadrature_thresholds=()), torch.float32),
}
Scores = NDArray[np.float64]


class Found:
    """Attributions, (query, layer, neuron), gradients and bounds, (query, layer), by one rule."""

    def __init__(self, engine: GradientEngine, targets: list[Target], path: ScaledPath | Certified) -> None:
        shape = (len(targets), engine.sites.n_layers)
        self.scores: Scores = np.zeros((*shape, engine.sites.n_neurons))
        self.nodes, self.bound = np.zeros(shape), np.zeros(shape)
        for indices, found in integrals(engine, targets, path):
            self.scores[indices] = (found.step * found.mean_gradient).double().cpu().numpy()
            self.nodes[indices] = found.n_nodes.numpy()
            self.bound[indices] = found.error.double().cpu().numpy()


def members(scores: Scores, threshold: float) -> NDArray[np.bool_]:
    """Neuron sets, (query, layer · neuron)."""
    flat = scores.reshape(len(scores), -1)
    return np.asarray(flat > threshold * flat.max(1)[:, None])


def jaccard(ours: Scores, theirs: Scores) -> Scores:
    """Of the sets of every query at .1, .2 and .3."""
    pairs = [(members(ours, t), members(theirs, t)) for t in (0.1, 0.2, 0.3)]
    return np.concatenate([(a & b).sum(1) / np.maximum(1, (a | b).sum(1)) for a, b in pairs])


def off(ours: Scores, theirs: Scores) -> Scores:
    """Largest error of a neuron that reaches the floor, relative to the query's maximum, (query, layer)."""
    largest = theirs.max((1, 2))[:, None, None]
    return np.asarray((np.abs(ours - theirs) * (theirs >= FLOOR * largest) / largest).max(2))


def dice(scores: Scores, fact: list[str]) -> float:
    """D at .2: mean over facts of the mean pairwise Dice index of their queries' sets."""
    sets, by_fact = members(scores, 0.2), list[float]()
    for one in dict.fromkeys(fact):
        rows = [sets[n] for n, of in enumerate(fact) if of == one]
        pairs = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in combinations(rows, 2)]
        by_fact += [float(np.mean(pairs))] if pairs else []
    return float(np.mean(by_fact))


def panels(scores: Scores, fact: list[str]) -> list[int]:
    """Neurons that reach the floor in any query of a fact, fact by fact."""
    near, of = members(scores, FLOOR), np.array(fact)
    return [int(near[of == one].any(0).sum()) for one in dict.fromkeys(fact)]


def work(engine: GradientEngine, nodes: Scores) -> float:
    """Multiplications of rows: a row of layer l runs through the blocks above it and the head."""
    layers = engine.sites.n_layers
    block = sum(p.numel() for p in engine.sites.blocks[0].parameters())
    head = 2 * engine.sites.head.weight.numel()  # type: ignore[operator]
    above = np.arange(layers, 0, -1) * 2 * block
    return float((nodes.sum(0) * (above + head)).sum())


def study(
    model: str, dtype: str, queries: int, device: str = "cpu"
) -> tuple[GradientEngine, list[Target], list[str]]:
    """Known queries, and the fact of each."""
    with tempfile.TemporaryDirectory() as folder:
        path = study_facts(Path(folder))
        made = prepare(Plan(model=model, facts=str(path), dtype=dtype, device=device, phases=("signals",)))
        asked = [query.targets[0] for of_fact in made.asking.asked for query in of_fact]
        facts = [
            fact.id
            for fact, of_fact in zip(made.facts.facts, made.asking.asked, strict=True)
            for _ in of_fact
        ]
        targets, known, engine = asked, list[int](), made.engine
        for indices, found in integrals(engine, targets, ScaledPath.none()):
            tokens = torch.tensor([targets[n].token for n in indices])
            right = (engine.head.logits(found.hidden).argmax(1).cpu() == tokens).tolist()
            known += [n for n, yes in zip(indices, right, strict=True) if yes]
    kept = sorted(known)[:queries]
    return engine, [targets[n] for n in kept], [facts[n] for n in kept]


def accuracy(model: str, queries: int, rules: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """The table of rules, and that of the reference."""
    wide, targets, fact = study(model, "float64", queries)
    reference = Found(wide, targets, Certified(error=1e-5, floor=FLOOR))
    shown = []
    for nodes in (128, 256):
        gauss = Found(wide, targets[:2], ScaledPath.of(quadrature("gauss", nodes)))
        shared = jaccard(gauss.scores, reference.scores[:2])
        error = float(off(gauss.scores, reference.scores[:2]).max())
        shown.append(
            {"rule": f"gauss {nodes}", "Jaccard": shared.mean(), "worst": shared.min(), "error": error}
        )
    del wide
    engine, targets, fact = study(model, "float32", queries)
    rows: list[dict[str, Any]] = []
    found = {name: Found(engine, targets, RULES[name]) for name in rules}
    rows_of_midpoint = len(MIDPOINT.passes[0].alphas)
    usual = work(engine, np.full((len(targets), engine.sites.n_layers), float(rows_of_midpoint)))
    for name, one in found.items():
        shared, worst = jaccard(one.scores, reference.scores), off(one.scores, reference.scores)
        largest = reference.scores.max((1, 2))[:, None]
        over = "" if np.isnan(one.bound).any() else f"{(worst > one.bound / largest + 1e-5).mean():.2%}"
        rows.append(
            {
                "rule": name,
                "gradients": one.nodes.mean(),
                "work": work(engine, one.nodes) / usual,
                "Jaccard": f"{shared.mean():.4f}",
                "worst": f"{shared.min():.3f}",
                "largest error": worst.max(),
                "over its bound": over,
                "D": f"{dice(one.scores, fact):.4f}",
            }
        )
    rows.append(
        {**dict.fromkeys(rows[0], ""), "rule": "reference", "D": f"{dice(reference.scores, fact):.4f}"}
    )
    widths = panels(reference.scores, fact)
    panel = [{"facts": len(widths), "mean": float(np.mean(widths)), "most": max(widths)}]
    return {
        f"accuracy, {len(targets)} known queries": rows,
        "the reference, two queries": shown,
        "neurons of a fact's panel": panel,
    }


def equal(model: str, queries: int) -> dict[str, list[dict[str, Any]]]:
    """Gauss–Legendre nodes that give as good sets as certified quadrature."""
    engine, targets, _ = study(model, "float32", queries)
    reference = Found(engine, targets, Certified(error=1e-5, floor=FLOOR))
    ours = jaccard(Found(engine, targets, DEFAULT).scores, reference.scores)
    rows = [{"rule": "certified 0.001", "Jaccard": f"{ours.mean():.4f}", "worst": f"{ours.min():.3f}"}]
    for nodes in (20, 50, 100, 200, 400):
        gauss = Found(engine, targets, ScaledPath.of(quadrature("gauss", nodes)))
        shared = jaccard(gauss.scores, reference.scores)
        rows.append(
            {"rule": f"gauss {nodes}", "Jaccard": f"{shared.mean():.4f}", "worst": f"{shared.min():.3f}"}
        )
        if shared.mean() >= ours.mean():
            break
    return {f"equal accuracy, {queries} queries": rows}


def paths(model: str) -> dict[str, list[dict[str, Any]]]:
    """P along the path of the layer that took most gradients, and of the median layer, of one query."""
    engine, targets, _ = study(model, "float32", 1)
    nodes = Found(engine, targets, DEFAULT).nodes[0]
    order = np.argsort(nodes, kind="stable")
    alphas = [0.0, 0.001, 0.003, 0.01, 0.02, 0.05, *(n / 10 for n in range(1, 11))]
    shares = torch.tensor(alphas)[:, None, None]
    found = engine.paths(targets, lambda _, w: shares * w, torch.zeros(1, len(alphas)))
    chosen = {"roughest": int(order[-1]), "median": int(order[len(order) // 2])}
    rows = [
        {"α": alpha}
        | {
            f"P, layer {n} ({kind}, {nodes[n]:.0f} gradients)": float(found.node_probability[i, 0, n])
            for kind, n in chosen.items()
        }
        for i, alpha in enumerate(alphas)
    ]
    return {"P along the path": rows}


def cost(model: str, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Seconds and GFLOP a query, naive and ours."""
    engine, targets, _ = study(model, "float32", 32)
    length = max({len(t.ids) for t in targets}, key=lambda n: sum(len(t.ids) == n for t in targets))
    some = [target for target in targets if len(target.ids) == length][:16]

    def run(path: ScaledPath | Certified) -> Callable[[], Any]:
        return lambda: Found(engine, some, path)

    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "naive, 20 nodes": (lambda: naive(engine, some[0], 20, every_position=False), 1),
        "midpoint 20": (run(RULES["midpoint 20"]), len(some)),
        "adaptive 8": (run(RULES["adaptive 8"]), len(some)),
        "certified 0.001": (run(RULES["certified 0.001"]), len(some)),
    }
    measured: dict[str, list[Cost]] = costs(ways, repeats)
    return {f"a query of {length} tokens": table(measured, "certified 0.001")}


def main() -> None:
    """Run the parts; print, and write ``results/real-models-NAME.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--facts", type=int, default=4)
    parser.add_argument("--rules", help="of accuracy, with commas; all unless given", default=",".join(RULES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="accuracy,equal,paths,cost")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", help="of the results; the last part of MODEL unless given")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from _real_phases import phases, strength
    from _real_proof import brute, half

    parts = {
        "accuracy": lambda: accuracy(args.model, args.queries, args.rules.split(",")),
        "equal": lambda: equal(args.model, min(12, args.queries)),
        "paths": lambda: paths(args.model),
        "cost": lambda: cost(args.model, args.repeats),
        "phases": lambda: phases(args.model, args.facts),
        "strength": lambda: strength(args.model, args.facts),
        "brute": lambda: brute(args.model, args.facts),
        "half": lambda: half(args.model, args.queries),
    }
    for name in args.parts.split(","):
        note = "Work counts multiplications of rows, relative to midpoint 20; D is the mean over facts."
        write(f"real-models-{args.name or Path(args.model).stem}-{name}", parts[name](), note)


if __name__ == "__main__":
    main()
