"""Extractions killed at random moments and run again: is the store that of an uninterrupted one, bit by bit?

    python benchmarks/kills.py [--kills 100] [--facts 4] [--seed 0]

Real extractions of the embedded model, in processes forked from this one, which has all imported. Each store
is killed three times, and then left to end: at a random one of the first steps that touch the disk (fsync,
rename, unlink, mkdir, rmdir); from outside at a random time; at a random step of all, or of clearing up. Then
its bytes are compared with those of the uninterrupted store, but for what tells the time: `run` and the own
sha256 of the manifest. Prints how many kills hit which stage. fsync itself is left out: it is slow, and of no
use against SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _killing import at, contents, never, started

from qloc.plan import Plan
from qloc.store.integrity.verify import verify
from qloc.store.writing import writer as _  # noqa: F401  (before any fork)
from qloc.workflows.extract import extract_study, prepared

STAGES = ("starting", "skeleton", "units", "assembling", "clearing up", "ended before")
COUNTRIES = ("France", "Kenya", "Peru", "Austria", "Norway", "Japan", "Egypt", "Chile")


def plan_of(folder: Path, n_facts: int, phases: tuple[str, ...] = ("signals",)) -> Plan:
    facts = folder / "facts.jsonl"
    with facts.open("w") as lines:
        for n in range(n_facts):
            subject = f"{COUNTRIES[n % len(COUNTRIES)]} {n}"
            queries = ["The capital of [X] is [Y].", "[X] has its capital in [Y]."]
            fact = {"id": str(n), "relation": "capital", "subject": subject, "object": "Paris"}
            lines.write(json.dumps({**fact, "queries": queries}) + "\n")
    # one thread: the processes forked from here must not wait for threads that they have not
    given = {"steps": 3, "unit_facts": 1, "threads": 1, "device": "cpu", "phases": phases}
    return Plan(model="embedded:causal", facts=str(facts), **given)


def warm(plan: Plan) -> None:
    """Import what an extraction needs and read the weights, once for all processes forked from this one."""
    torch.set_num_threads(1)  # they must not wait for threads that they have not
    prepared(plan).outline  # noqa: B018  (a property that is kept)


def killed_with_units(plan: Plan, out: Path, n_units: int) -> None:
    """Extract until so many units are recorded, and be killed."""

    def dies(step: int) -> bool:
        return len(list((out / "ledger").glob("unit-*.json"))) >= n_units

    os.waitpid(started(partial(extract_study, plan, out), dies), 0)


def behind_the_manifest(out: Path, steps: int) -> Callable[[int], bool]:
    """In front of a step so many steps after the manifest is there: what is left is to clear up."""
    left = [steps]

    def dies(taken: int) -> bool:
        left[0] -= (out / "manifest.json").exists()
        return left[0] < 0

    return dies


def stage(out: Path, n_units: int, status: int) -> str:
    """How far a process had got, from what is on the disk."""
    if not os.WIFSIGNALED(status):
        return "ended before"
    if (out / "manifest.json").exists():
        return "clearing up"
    if (out / "ledger").is_dir():
        done = len(list((out / "ledger").glob("unit-*.json")))
        return "units" if done < n_units else "assembling"
    return "skeleton" if (out.parent / f".{out.name}.new").exists() else "starting"


def killed(plan: Plan, out: Path, n: int, rng: random.Random, *, steps: int, seconds: float) -> int:
    """Start, and kill for the n-th time; how the process ended."""
    if n == 1:
        child = started(partial(extract_study, plan, out), never)
        time.sleep(rng.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]
    dies = at(rng.randrange(steps // 4 if n == 0 else steps))
    if n == 2 and rng.random() < 0.5:
        dies = behind_the_manifest(out, rng.randrange(12))
    return os.waitpid(started(partial(extract_study, plan, out), dies), 0)[1]


def uninterrupted(plan: Plan, out: Path) -> tuple[dict[str, bytes], int, float]:
    """Bytes of the store, steps that touch the disk, seconds."""
    reader, writer = os.pipe()
    clock = time.monotonic()
    status = os.waitpid(started(partial(extract_study, plan, out), never, report=writer), 0)[1]
    if status:
        sys.exit("the uninterrupted extraction failed")
    return contents(out), int(os.read(reader, 99)), time.monotonic() - clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("kills", 100), ("facts", 4), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    rng, hits, n_stores = random.Random(asked.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        plan = plan_of(here, asked.facts)
        warm(plan)
        whole, steps, seconds = uninterrupted(plan, here / "whole.zarr")
        print(f"uninterrupted: {len(whole)} objects, {steps} steps that touch the disk, {seconds:.2f} s")
        while (n_kills := sum(hits.values()) - hits["ended before"]) < asked.kills:
            out = here / f"{n_stores}.zarr"
            for n in range(min(3, asked.kills - n_kills)):
                status = killed(plan, out, n, rng, steps=steps, seconds=seconds)
                hits[stage(out, asked.facts, status)] += 1
            if os.waitpid(started(partial(extract_study, plan, out), never), 0)[1]:
                sys.exit(f"{out.name}: did not end well when it was run again")
            if (problems := verify_aside(out)) or contents(out) != whole:
                sys.exit(f"{out.name}: not the store of an uninterrupted run {problems}")
            if litter := [path.name for path in here.glob(f".{out.name}*")]:
                sys.exit(f"{out.name}: left {litter}")
            n_stores += 1
    print(f"{n_kills} kills in {n_stores} stores, each then equal to the uninterrupted one, bit by bit:")
    for name in STAGES:
        print(f"  {name:13s} {hits[name]:4d}")


def verify_aside(store: Path) -> list[str]:
    """Verify in a process of its own: zarr's threads must not be there when this one forks."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(verify(store)[:3]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        return [str(problem) for problem in json.loads(told.read())]


if __name__ == "__main__":
    main()
