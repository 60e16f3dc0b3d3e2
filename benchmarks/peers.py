"""qloc against the packages that people use for it: knowledge-neurons 0.0.2 as shipped, and captum.

    python benchmarks/peers.py [--parts gpt2 bert accuracy] [--steps 20] [--queries 8] [--repeats 3]
    python benchmarks/peers.py --parts real --model MODEL --nodes 50 [--repeats 1]

The first run makes an environment for the peers (a cache folder; they come from the package registry, torch
and transformers from the environment that runs this); everything is then measured in one process there.

- ``gpt2``, ``bert``: GPT-2 small's and BERT base's shape with random weights, equal nodes. What is comparable
  is checked to be equal.
- ``accuracy``: the embedded trained models. Jaccard of neuron sets (over 0.2 of the largest) with those of
  Gauss–Legendre 64; how many nodes the package's quadrature needs to be as good as qloc's; what both cost.
- ``real``: captum's best rule, Gauss–Legendre, on a real decoder, with so many nodes as
  ``real_models.py --parts equal`` finds that it needs for the sets of qloc's certified quadrature.
"""

from __future__ import annotations

import argparse
import os
import site
import subprocess
import sys
import venv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

PEERS = ("knowledge-neurons==0.0.2", "captum==0.9.0", "einops==0.8.2")
HOME = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qloc" / "peers"
INSIDE = "QLOC_PEERS"
OURS = {"midpoint": (4, 8, 12, 20), "gauss": (6, 8, 12, 16)}
THEIRS = (5, 10, 20, 40, 80, 160, 320)


def enter() -> None:
    """Go on in the peers' environment, which is made if there is none."""
    python = HOME / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (HOME / "made").exists():
        print(f"making {HOME} with {', '.join(PEERS)} ...", flush=True)
        venv.create(HOME, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", *PEERS]
        subprocess.run(pip, check=True)
        (HOME / "made").touch()
    given = [*site.getsitepackages(), str(Path(__file__).parents[1] / "src")]
    lines = [f"import site; site.addsitedir({folder!r})" for folder in given]
    library = next(HOME.glob("lib*/**/site-packages"))
    (library / "given.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.execve(python, [str(python), *sys.argv], {**os.environ, INSIDE: "1"})


def against_peers(kind: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What a query takes, by every package."""
    from _measuring import attribution, build, costs, engine_of, shape, table, targets
    from _peers import Captum, Package

    config, family = shape(kind, num_hidden_layers=args.layers)
    model, asked = build(config, family), targets(args.queries, args.tokens, family, config.vocab_size)
    engine, package = engine_of(model, family, asked), Package(model, family)
    captum = Captum(model, engine.sites)
    ways = {
        "knowledge-neurons 0.0.2": (lambda: package.attribution(asked[0], args.steps), 1),
        "captum 0.9.0": (lambda: captum.attribution(asked[0], args.steps), 1),
        "qloc": (lambda: attribution(engine, asked, "midpoint", args.steps), len(asked)),
    }
    rows = table(costs(ways, args.repeats), "qloc")
    equal = {
        "captum 0.9.0": difference(
            captum.attribution(asked[0], args.steps), engine, asked, "right", args.steps
        )
    }
    if kind == "bert":  # of GPT-2, the package attributes to the activation function's input
        theirs = package.attribution(asked[0], args.steps)
        equal["knowledge-neurons 0.0.2"] = difference(theirs, engine, asked, "endpoints", args.steps)
    return [{**row, "differs from qloc by": equal.get(row["way"], "")} for row in rows]


def difference(theirs: Any, engine: Any, asked: Sequence[Any], rule: str, steps: int) -> float:
    """Largest difference from qloc's attribution by the peer's own quadrature, relative to the largest."""
    from _measuring import attribution

    ours = attribution(engine, asked[:1], rule, steps)[0]
    return float((theirs - ours).abs().max() / ours.abs().max())


def equal_accuracy(kind: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Jaccard by quadrature, and what it costs to be as good."""
    from _measuring import attribution, engine_of, gflop_of, targets
    from _peers import Package

    from qloc.extract.models.loading import source
    from qloc.extract.signals.extraction import prepare
    from qloc.plan import Plan

    plan = Plan(model=f"embedded:{kind}", facts="embedded", max_facts=args.facts)
    asked = [one.targets[0] for queries in prepare(plan).asking.asked for one in queries[:1]]
    loaded = source(plan.model).load(dtype="float32", device="cpu")
    engine = engine_of(loaded.model, loaded.family, asked)
    best = attribution(engine, asked, "gauss", 64)
    package, lengths = Package(loaded.model, loaded.family), [len(target.ids) for target in asked]
    like = {n: targets(1, n, loaded.family, loaded.model.config.vocab_size)[0] for n in set(lengths)}
    cost = {n: gflop_of(partial(package.attribution, like[n], 100)) / 100 for n in like}
    a_node = sum(cost[n] for n in lengths) / len(lengths)
    theirs = {m: jaccard(attribution(engine, asked, "endpoints", m), best) for m in THEIRS}
    rows = []
    for rule, numbers in OURS.items():
        for m in numbers:
            mine = jaccard(attribution(engine, asked, rule, m), best)
            needed = next((n for n, found in theirs.items() if found >= mine), None)
            ours = gflop_of(partial(attribution, engine, asked, rule, m)) / len(asked)
            rows.append(
                {
                    "qloc": f"{rule} {m}",
                    "Jaccard": mine,
                    "GFLOP": ours,
                    "nodes the package needs": needed or f"> {THEIRS[-1]}",
                    "its GFLOP": (needed or THEIRS[-1]) * a_node,
                    "times": (needed or THEIRS[-1]) * a_node / ours,
                }
            )
    return rows


def on_a_real_model(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What a query takes, by captum with the nodes that it needs and by qloc's default."""
    from _measuring import costs, table
    from _peers import Captum
    from real_models import DEFAULT, Found, study

    from qloc.extract.attribution.integrated_gradients import ScaledPath
    from qloc.extract.attribution.quadrature import quadrature

    engine, targets, _ = study(args.model, "float32", 32)
    length = max({len(t.ids) for t in targets}, key=lambda n: sum(len(t.ids) == n for t in targets))
    asked = [target for target in targets if len(target.ids) == length][:16]
    ways = {
        "captum 0.9.0, logits at every position": Captum(engine.model, engine.sites, "gausslegendre"),
        "captum 0.9.0, at the last": Captum(engine.model, engine.sites, "gausslegendre", logits_to_keep=1),
    }
    work = {
        f"{name}, {n} nodes": (partial(way.attribution, asked[0], n), 1)
        for n in dict.fromkeys((20, args.nodes))
        for name, way in ways.items()
    }
    rows = table(
        costs({**work, "qloc": (partial(Found, engine, asked, DEFAULT), len(asked))}, args.repeats), "qloc"
    )
    ours = Found(engine, asked[:1], ScaledPath.of(quadrature("gauss", 20))).scores[0]
    theirs = ways["captum 0.9.0, at the last"].attribution(asked[0], 20).double().numpy()
    unlike = {
        "way": "captum's 20 nodes differ from qloc's 20 by",
        "seconds": abs(theirs - ours).max() / ours.max(),
    }
    return [*rows, dict.fromkeys(rows[0], "") | unlike]


def jaccard(found: Any, best: Any) -> float:
    """Mean Jaccard of the queries' neuron sets."""
    ours, theirs = (scores > 0.2 * scores.amax((1, 2), keepdim=True) for scores in (found, best))
    return float(((ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2))).double().mean())


def main() -> None:
    """Measure what was asked for, and write it to ``results/peers-PART.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=["gpt2", "bert", "accuracy"])
    parser.add_argument("--queries", type=int, default=8, help="queries in one batch of qloc's")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--facts", type=int, default=40, help="facts of the part accuracy")
    parser.add_argument("--model", help="of the part real")
    parser.add_argument("--nodes", type=int, default=50, help="of the part real")
    parser.add_argument("--name", help="of the results of the part real; the last part of MODEL unless given")
    args = parser.parse_args()
    if INSIDE not in os.environ:
        enter()
    from _measuring import write

    for kind in ("gpt2", "bert"):
        if kind in args.parts:
            title = f"{kind}'s shape, {args.layers} layers, {args.tokens} tokens, {args.steps} nodes, a query"
            write(f"peers-{kind}", {title: against_peers(kind, args)}, EQUAL_NODES)
    if "real" in args.parts:
        named = args.name or Path(args.model).stem
        write(f"peers-real-{named}", {f"{named}, a query": on_a_real_model(args)}, REAL)
    if "accuracy" in args.parts:
        titles = {kind: f"equal accuracy, embedded:{kind}, a query" for kind in ("causal", "masked")}
        write("peers-accuracy", {t: equal_accuracy(kind, args) for kind, t in titles.items()}, EQUAL_ACCURACY)


EQUAL_NODES = """`times` are medians of ratios of runs in turn. Of GPT-2 the package attributes to the *input*
of the activation function, so its numbers are others, and only its cost is compared."""
REAL = """captum takes one query at a time, with its nodes as one batch; qloc up to 16 queries together,
certified within 0.001."""
EQUAL_ACCURACY = """The package's quadrature is `endpoints`; its Jaccard is that of qloc's attribution by
that rule, its cost what the package itself takes, which is linear in nodes."""

if __name__ == "__main__":
    main()
