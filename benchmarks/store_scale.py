"""Size and speed of a store of ParaRel × LLaMA-3-8B shape, measured against the aims.

    python benchmarks/store_scale.py [--scale 0.02] [--store DIR] [--results FILE]

27,610 facts, 224,674 queries, 32 × 14,336 neurons, three attribution methods, float32, made up with heavy
tails (benchmarks/studies/heavy_tailed.py describes them; a test shows that the panels written here are those
of the whole network). Everything goes through the real writer. The dense tier, 2 TB at full scale, is
measured on a few facts. What is read is read in fresh processes, with the store's files out of the page
cache. ``--store`` keeps the store there, and takes up one that is there; it needs 12 GB while it is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from studies.heavy_tailed import HeavyTailed

from qloc.store.units import ledger
from qloc.store.writing.writer import Writer

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)
CONSISTENCY, K0 = 0.1, 3
DENSE_FACTS, DENSE_QUERIES = 24, 195
VERDICT = {True: "met", False: "**missed**", None: ""}


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the facts")
    parser.add_argument("--store", type=Path, help="folder to keep the store in")
    parser.add_argument("--results", type=Path, help="Markdown file to write")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "STORE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(MEASURES[given.measure[0]](given.measure[1])))
        return
    with tempfile.TemporaryDirectory(prefix="store-scale-", dir=given.store and given.store.parent) as folder:
        table = report(given.scale, given.store or Path(folder) / "study.zarr", Path(folder))
    print(table)
    if given.results:
        given.results.write_text(table + "\n")


def report(scale: float, store: Path, folder: Path) -> str:
    """All measures as Markdown."""
    study = HeavyTailed(n_facts=round(27_610 * scale), n_queries=round(224_674 * scale))
    with Writer.open(store, study.outline(), asdict(study), floor=study.floor) as writer:
        written = write(writer, study)
    size = n_bytes(store)
    dense = fresh("dense", folder / "dense.zarr")
    opened, scored, fact = (fresh(what, store) for what in ("open", "scores", "fact"))
    rows = [
        ("panel store on disk", gigabytes(size), f"≤ {gigabytes(4e9 * scale)}", size <= 4e9 * scale),
        (
            "open",
            f"{opened['cold'][0]:.2f} s ({opened['cold'][1]:.2f} s CPU); again {opened['warm'][0]:.2f} s",
            "≤ 1 s",
            opened["cold"][0] <= 1,
        ),
        (
            "CS1, CS2, D, κ, K_I, K_I(3) by relation, 10 thresholds",
            f"{scored['seconds']:.1f} s ({scored['cpu']:.1f} s CPU)",
            "≤ 60 s",
            scored["seconds"] <= 60,
        ),
        ("its peak memory", gigabytes(scored["peak"]), "≤ 4.00 GB", scored["peak"] <= 4e9),
        (
            "one fact's panel",
            f"{1e3 * fact['median'][0]:.1f} ms ({1e3 * fact['median'][1]:.1f} ms CPU); "
            f"95th percentile {1e3 * fact['high'][0]:.1f} ms",
            "≤ 20 ms",
            fact["median"][0] <= 0.02,
        ),
        (
            "dense units written",
            rate(dense, "write"),
            "≥ 200 MB/s",
            dense["bytes"] / dense["write"][0] >= 2e8,
        ),
        ("dense arrays assembled, read back, hashed", rate(dense, "finalize"), "–", None),
        ("the disk alone: write and fsync", rate(dense, "disk"), "–", None),
    ]
    lines = [
        f"# Size and speed of a store, scale {scale:g}",
        "",
        f"{study.n_facts:,} facts, {study.n_queries:,} queries, "
        f"{study.n_layers} × {study.n_neurons:,} neurons, 3 methods; "
        f"{machine()}; load {os.getloadavg()[0]:.1f}; {datetime.now(UTC):%Y-%m-%d}.",
        "",
        "| what | measured | aim | |",
        "|---|---|---|---|",
        *(f"| {what} | {got} | {aim} | {VERDICT[ok]} |" for what, got, aim, ok in rows),
        "",
        f"Panels: {fact['mean_slots']:.0f} neurons a fact on average, {fact['slots']} at most. "
        + ", ".join(f"{name} {gigabytes(n_bytes(store / name))}" for name in ("signals", "queries", "grams"))
        + f". Neurons of a query at 0.2: {scored['set_size']:.0f}. Attention is not in it.",
    ]
    if written:
        lines += [
            "",
            "Units written in {:.0f} s ({:.0f} s CPU), ".format(*written["write"])
            + "assembled in {:.0f} s ({:.0f} s CPU)".format(*written["finalize"])
            + f"; peak memory of both, and of making them, {gigabytes(written['peak'])}.",
        ]
    return "\n".join(lines)


def write(writer: Writer, study: HeavyTailed) -> dict[str, Any]:
    """Seconds of writing and assembling the panel store; nothing where it is there already."""
    if writer.complete:
        return {}
    put = np.zeros(2)
    for unit in writer.missing():
        arrays = study.arrays(unit, writer.layout)
        put += timed(
            lambda unit=unit, arrays=arrays: writer.record(
                ledger.write_arrays(writer.path, unit.number, arrays, {})
            )
        )
    return {"write": put, "finalize": timed(writer.finalize), "peak": peak()}


def measure_dense(path: str) -> dict[str, Any]:
    """Seconds and bytes of dense units, written and assembled; and of as many bytes by the disk alone."""
    study = HeavyTailed(n_facts=DENSE_FACTS, n_queries=DENSE_QUERIES, unit_facts=4)
    write, disk, total = np.zeros(2), np.zeros(2), 0
    with Writer.open(path, study.outline(), asdict(study), tier="dense") as writer:
        for unit in writer.missing():
            block = study.block(unit, noise=1e-5)
            total += block.attribution.nbytes + block.activation.nbytes + block.gradient.nbytes
            write += timed(lambda block=block: writer.write(block))
            raw, values = Path(path).with_suffix(".raw"), block.attribution
            disk += timed(lambda raw=raw, values=values: durable(raw, values)) * 5 / 3
        finalize = timed(writer.finalize)
    rates = {"write": write, "finalize": finalize, "disk": disk}
    return {**{name: seconds.tolist() for name, seconds in rates.items()}, "bytes": total}


def measure_open(path: str) -> dict[str, Any]:
    """Seconds to open a store with nothing of it in memory, and again."""
    from qloc.workflows.analyze import open_study

    evict(path)
    return {name: timed(lambda: open_study(path)).tolist() for name in ("cold", "warm")}


def measure_scores(path: str) -> dict[str, float]:
    """Seconds and peak memory of all scores by relation at ten thresholds, opening among them."""
    from qloc.analysis.inference.means import mean
    from qloc.analysis.localization.consistency import consistency, filled
    from qloc.analysis.localization.inconsistent_share import ratio
    from qloc.analysis.localization.query_subsets import subset_scores
    from qloc.workflows.analyze import open_study

    evict(path)
    at, cpu = time.perf_counter(), time.process_time()
    for sets in open_study(path).neurons_at(THRESHOLDS, method="ig"):
        scores = consistency(sets)
        used = filled(sets.known())
        shares = subset_scores(used.member, used.queries["fact"], sets.n_facts, [K0], CONSISTENCY)
        names, relation = np.unique(scores["relation"].values, return_inverse=True)
        for r in range(len(names)):
            here = relation == r
            [mean(scores[name].values[here]) for name in ("CS1", "CS2", "D", "kappa")]
            [ratio(scores[name].values[here], CONSISTENCY) for name in ("CS1", "CS2")]
            [mean(share[here]) for share in (shares.below_cs1, shares.below_cs2)]
        if "0.2" in sets.rule:
            set_size = float(sets.sizes().mean())
    seconds, cpu = time.perf_counter() - at, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "peak": peak(), "set_size": set_size}


def measure_fact(path: str, n: int = 60) -> dict[str, Any]:
    """Seconds to read one fact's panel: its neurons, and all three signals of all its queries and methods."""
    from qloc.workflows.analyze import open_study

    study = open_study(path)
    first, k = study.column("facts", "first_query"), study.column("facts", "n_queries")
    evict(path)
    seconds = []
    for fact in np.random.default_rng(0).integers(len(k), size=n):
        rows = slice(int(first[fact]), int(first[fact] + k[fact]))
        signals = study.signals[["attribution", "activation", "gradient", "panel_neuron"]]
        seconds.append(timed(lambda s=signals, f=int(fact), r=rows: s.isel(fact=f, query=r).load()))
    slots = (study.signals["panel_neuron"].values >= 0).sum(axis=1)
    return {
        "median": np.median(seconds, axis=0).tolist(),
        "high": np.quantile(seconds, 0.95, axis=0).tolist(),
        "slots": int(slots.max()),
        "mean_slots": float(slots.mean()),
    }


MEASURES = {"dense": measure_dense, "open": measure_open, "scores": measure_scores, "fact": measure_fact}


def fresh(what: str, path: Path) -> dict[str, Any]:
    """A measure, taken in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def timed(do: Any) -> Any:
    """Seconds that something takes, by the clock and of the processor: float64, (2,)."""
    at = np.array([time.perf_counter(), time.process_time()])
    do()
    return np.array([time.perf_counter(), time.process_time()]) - at


def durable(path: Path, values: Any) -> None:
    """Write bytes to a file and to the disk, and remove it."""
    with path.open("wb") as target:
        target.write(values.data)
        target.flush()
        os.fsync(target.fileno())
    path.unlink()


def evict(path: str) -> None:
    """Ask the kernel to forget what it has of a folder's files."""
    for file in Path(path).rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def peak() -> float:
    """Largest memory of this process, bytes."""
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def n_bytes(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def gigabytes(size: float) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.2f} GB"


def rate(dense: dict[str, Any], step: str) -> str:
    """Megabytes a second of the dense signals, in words."""
    wall, cpu = dense["bytes"] / 1e6 / np.array(dense[step])
    return f"{wall:.0f} MB/s ({cpu:.0f} MB a second of CPU)"


def machine() -> str:
    """Processor, cores, memory, Python."""
    cpu = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} cores of {cpu}, {memory / 2**30:.0f} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
