"""What the extraction benchmarks share: models of known shapes, seconds, counted work, written results.

Wall seconds mean little on a machine that does something else too; CPU seconds (of all threads) mean more,
and the GFLOP (matrix products and attention) are counted by torch, not timed.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Two threads that spin on one shared core are several times slower at random.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
import transformers
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertConfig, GPT2Config

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.attribution.integrated_gradients import ScaledPath, integrals
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.models.architectures import sites
from qloc.extract.prompts.tokenizing import Family, Target

RESULTS = Path(__file__).parent / "results"


def build(config: Any, family: Family) -> Any:
    """A model of a configuration, its weights random by a fixed seed."""
    torch.manual_seed(0)
    auto = AutoModelForMaskedLM if family == "masked" else AutoModelForCausalLM
    made: Any = auto
    return made.from_config(config).eval().requires_grad_(False)


def shape(kind: str, **changes: Any) -> tuple[Any, Family]:
    """Configuration and family of GPT-2 small's or BERT base's shape, or one changed from it."""
    return (GPT2Config(**changes), "causal") if kind == "gpt2" else (BertConfig(**changes), "masked")


def targets(n: int, tokens: int, family: Family, vocabulary: int) -> list[Target]:
    """Random prompts of one length; the answer is asked for at the end.

    Of masked models in between [CLS] (2) and [SEP] (3), at [MASK] (4): as ``_peers.words`` has it.
    """
    drawn = torch.Generator().manual_seed(1)
    *ids, answers = torch.randint(10, vocabulary, (tokens + 1, n), generator=drawn).tolist()
    if family == "masked":
        ids[0], ids[-2], ids[-1] = [2] * n, [4] * n, [3] * n
    place = tokens - 1 if family == "causal" else tokens - 2
    prompts = zip(*ids, strict=True)
    return [Target(ids=row, position=place, token=token) for row, token in zip(prompts, answers, strict=True)]


def engine_of(model: Any, family: Family, asked: Sequence[Target], memory: int = 8 * 10**9) -> GradientEngine:
    """The engine as an extraction makes it, proved on what is asked."""
    return proved(
        GradientEngine(model=model, sites=sites(model), family=family, memory=memory), [*asked[:2], asked[-1]]
    )


def attribution(engine: GradientEngine, asked: Sequence[Target], rule: str, steps: int) -> Tensor:
    """Integrated gradients by qloc, (query, layer, neuron)."""
    path = ScaledPath.of(quadrature(rule, steps))
    scores: dict[int, Tensor] = {}
    for indices, found in integrals(engine, asked, path):
        scores |= dict(zip(indices, found.step * found.mean_gradient, strict=True))
    return torch.stack([scores[index] for index in range(len(asked))])


@dataclass(frozen=True)
class Cost:
    """What one query takes."""

    wall: float
    cpu: float
    gflop: float


def costs(ways: Mapping[str, tuple[Callable[[], Any], int]], repeats: int) -> dict[str, list[Cost]]:
    """Costs a query of every way, timed in turn so that a machine that slows down slows all alike.

    Parameters
    ----------
    ways : name → what to run, and how many queries it answers.
    """
    gflop = {name: gflop_of(work) / n for name, (work, n) in ways.items()}  # also warms up
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (work, n) in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            found[name].append(Cost(wall / n, cpu / n, gflop[name]))
    return found


def gflop_of(work: Callable[[], Any]) -> float:
    """GFLOP of some work, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


def table(found: Mapping[str, list[Cost]], against: str) -> list[dict[str, Any]]:
    """A row a way: medians, and how many times as much as ``against`` it takes, pair by pair."""
    return [
        {
            "way": name,
            "seconds": median(cost.wall for cost in runs),
            "CPU seconds": median(cost.cpu for cost in runs),
            "GFLOP": runs[0].gflop,
            "times (seconds)": median(a.wall / b.wall for a, b in zip(runs, found[against], strict=True)),
            "times (CPU seconds)": median(a.cpu / b.cpu for a, b in zip(runs, found[against], strict=True)),
            "times (GFLOP)": runs[0].gflop / found[against][0].gflop,
        }
        for name, runs in found.items()
    ]


def median(values: Any) -> float:
    """Their median."""
    return float(statistics.median(values))


def machine(device: str = "cpu") -> dict[str, Any]:
    """What a figure was measured on."""
    described = {
        "machine": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }
    if device.startswith("cuda"):
        described["machine"] = torch.cuda.get_device_name(device)
    return described


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write(name: str, parts: Mapping[str, list[dict[str, Any]]], notes: str, device: str = "cpu") -> None:
    """Print each part as a table; keep all with the machine in ``results/NAME.json`` and ``NAME.md``."""
    about = {"command": " ".join(["python", *sys.argv]), **machine(device)}
    described = ", ".join(f"{key} {value}" for key, value in about.items() if key != "command")
    text = [f"`{about['command']}`", described]
    for title, rows in parts.items():
        heads = list(rows[0])
        lines = [heads, ["---"] * len(heads), *([_cell(row[head]) for head in heads] for row in rows)]
        text += [f"## {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    text.append(notes)
    print("\n\n".join(text))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(f"# {name}\n\n" + "\n\n".join(text) + "\n", encoding="utf-8")
    kept = {"machine": about, "results": parts, "notes": notes}
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
