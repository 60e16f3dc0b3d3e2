"""Faults of every kind, tried on real stores: how many were tried, and how many handled.

    python benchmarks/reliability.py [--scale 1] [--only kills] [--seed 0] [--write]

Planted studies with every phase are written as an extraction writes them, in forked processes (workers: real
extractions of the embedded model). Handled is what leaves nothing wrong and nothing silent: after a kill, a
power loss, a full disk or a dead worker, the same command gives the bytes of an uninterrupted store; a
flipped bit is told by verify, and by whatever reads the object, and repaired to the same bytes; input from
strangers works or is refused (benchmarks/hostile_stores.py); a store that is pulled over a faulty connection
has the bytes of its source, or is not there. ``--scale 0.1`` is for a quick look; ``--write`` writes
benchmarks/results/reliability.json and .md; ``--only`` renews only its rows.
"""

from __future__ import annotations

import argparse
import errno
import http.server
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import hostile_stores
from _hostile_inputs import HDF5, UNITS
from _killing import at, contents, never, started
from _power_loss import log_steps, lose_power

import qloc.simulation.simulate
import qloc.store.repair.whole_store
import qloc.store.writing.phase_writer
import qloc.workflows.analyze  # noqa: F401  (before any fork, as all of these)

RESULTS: Final = Path(__file__).parent / "results" / "reliability.json"
PHASES: Final = ("signals", "interventions", "edits")
STUDY: Final[dict[str, Any]] = {
    "facts": 6, "relations": 2, "templates": 3, "n_layers": 2, "n_neurons": 32, "unit_facts": 2, "seed": 1,
}  # fmt: skip

Outcome = tuple[str, bool, str]
"""The fault, whether it was handled, and what happened if not."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What writing a study without an interruption gave.

    Attributes
    ----------
    folder : Path
        Has the store as ``whole.zarr``.
    bytes : dict of str to bytes
        Objects of the store, without what tells the time.
    steps : dict of str to tuple of int
        Of each phase the first of its steps that touch the disk, and the one behind its last.
    """

    folder: Path
    bytes: dict[str, bytes]
    steps: dict[str, tuple[int, int]]


def write(out: Path) -> None:
    """Write the study with every phase, or go on with it."""
    from qloc.simulation.simulate import simulate

    simulate(out, phases=PHASES, **STUDY)


def phase_of(out: Path) -> str:
    """The phase that is being written, as the folders say."""
    if not (out / "manifest.json").exists():
        return PHASES[0]
    return PHASES[2] if (out / PHASES[1] / "zarr.json").exists() else PHASES[1]


def uninterrupted(folder: Path) -> Whole:
    """Write the study once, and count the steps of each phase that touch the disk."""
    out = folder / "whole.zarr"
    log = os.open(folder / "phases", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(step: int) -> bool:
        os.write(log, f"{phase_of(out)}\n".encode())
        return False

    if os.waitpid(started(partial(write, out), note), 0)[1]:
        sys.exit("writing without an interruption failed")
    phases = (folder / "phases").read_text().split()
    steps = {name: (phases.index(name), len(phases) - phases[::-1].index(name)) for name in PHASES}
    return Whole(folder=folder, bytes=contents_of(out), steps=steps)


def contents_of(store: Path) -> dict[str, bytes]:
    """Objects of a store, without what tells the time."""
    return contents(store) if (store / "manifest.json").exists() else {}


def settled(whole: Whole, out: Path) -> str:
    """Run it again; say what is wrong with the store that it leaves, if anything."""
    if status := os.waitpid(started(partial(write, out), never), 0)[1]:
        return f"run again it ended by {status}"
    now = contents_of(out)
    if now != whole.bytes:
        unlike = [name for name in {*now, *whole.bytes} if now.get(name) != whole.bytes.get(name)]
        return f"{len(unlike)} objects differ, such as {sorted(unlike)[0]}"
    litter = [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")]
    return f"left {litter}" if litter else ""


# Kills and power losses


def kills(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """SIGKILL in front of a random step of each phase, twice, and then run to the end."""
    for number in range(n):
        phase = PHASES[number % 3]
        out = _room(whole, f"kill{number}") / "s.zarr"
        for _ in range(2):
            os.waitpid(started(partial(write, out), at(rng.randrange(*whole.steps[phase]))), 0)
        wrong = settled(whole, out)
        yield f"killed in {phase}", not wrong, wrong
        shutil.rmtree(out.parent)


def power(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """A kill, and the loss of what was not flushed; then run to the end."""
    for number in range(n):
        phase, room = PHASES[number % 3], _room(whole, f"power{number}")
        root, before, aside = room / "root", room / "before", room / "aside"
        root.mkdir()
        shutil.copytree(root, before)
        aside.mkdir()
        step = at(rng.randrange(*whole.steps[phase]))
        flush = partial(log_steps, root, aside)
        os.waitpid(started(partial(write, root / "s.zarr"), step, flush=flush), 0)
        lost = lose_power(root, before, aside, rng)
        wrong = settled(whole, root / "s.zarr")
        yield f"power lost in {phase}", not wrong, f"{wrong} ({lost} steps lost)" if wrong else ""
        shutil.rmtree(room)


def _room(whole: Whole, name: str) -> Path:
    made = whole.folder / name
    made.mkdir()
    return made


# Full disks


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[str], None] | None]:
    """Mount a small disk in memory, and give what changes its size; None where mounting is not permitted."""

    def sized(options: str) -> None:
        how = ["-o", f"remount,{options}"] if place.is_mount() else ["-o", options]
        subprocess.run(["mount", "-t", "tmpfs", *how, "tmpfs", str(place)], check=True, capture_output=True)

    place.mkdir()
    try:
        sized("size=1m")
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield sized
    finally:
        subprocess.run(["umount", str(place)], check=True)


def disks(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """A disk without room, or without inodes, from a random point on; then with room."""
    n_files, n_bytes = len(whole.bytes), sum(map(len, whole.bytes.values()))
    for number in range(n):
        kind = ("bytes", "inodes")[number % 2]
        with small_disk(whole.folder / f"disk{number}") as sized:
            out = whole.folder / f"disk{number}" / "s.zarr"
            if sized is None:
                told = _refused(out, most_bytes=rng.randrange(1, n_bytes // n_files * 4))
                kind = "a largest file size (no mount permitted)"
            else:
                few = {"bytes": f"size={rng.randrange(16, n_bytes * 2 // 1024)}k",
                       "inodes": f"nr_inodes={rng.randrange(3, n_files * 2)}"}[kind]  # fmt: skip
                sized(f"{few},size=64m" if kind == "inodes" else few)
                told = _refused(out)
                sized("size=256m,nr_inodes=100k")
            wrong = told or settled(whole, out)
            yield f"a disk full of {kind}", not wrong, wrong


def _refused(out: Path, most_bytes: int | None = None) -> str:
    """Write where there may be no room; say what is wrong with how it ends, if anything."""
    from qloc.errors import StorageError

    def extract() -> str:
        if most_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
        with suppress(StorageError):
            write(out)
        return ""

    said, _ = hostile_stores.forked(extract)
    return said


# Flipped bits


def flips(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """A flipped bit in each kind of file: told by verify and by reading, and repaired."""
    store = _room(whole, "flips") / "s.zarr"
    shutil.copytree(whole.folder / "whole.zarr", store)
    kinds = _kinds(store)
    for number in range(n):
        kind = list(kinds)[number % len(kinds)]
        path = store / rng.choice(kinds[kind])
        sound = path.read_bytes()
        flipped = bytearray(sound)
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        said, _ = hostile_stores.forked(partial(_told_and_mended, store, kind, path, sound))
        yield f"a flipped bit in {kind}", not said, f"{path.relative_to(store)}: {said}" if said else ""
        path.write_bytes(sound)


def _kinds(store: Path) -> dict[str, list[str]]:
    names = sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    groups = sorted({name.split("/")[0] for name in names if "/c/" in name})
    return {
        "the manifest": ["manifest.json"],
        "the root's metadata": ["zarr.json"],
        "the card": ["README.md"],
        "metadata of arrays": [name for name in names if name.count("/") == 2 and name.endswith("zarr.json")],
        **{f"chunks of /{group}": [n for n in names if n.startswith(f"{group}/") and "/c/" in n]
           for group in groups},
    }  # fmt: skip


def _told_and_mended(store: Path, kind: str, path: Path, sound: bytes) -> str:
    from qloc.errors import QlocError, VerificationError
    from qloc.store.integrity.verify import verify

    if not verify(store):
        return "verify did not tell"
    try:
        hostile_stores.read_whole(store)
    except QlocError as error:
        if error.exit_code not in (2, 3):
            return f"reading exits {error.exit_code}: {error}"
    else:
        if kind != "the card":
            return "reading did not tell"
    try:
        _repair(store)
    except VerificationError as error:
        return "" if kind == "the manifest" else f"not repaired: {error}"
    return "" if path.read_bytes() == sound and not verify(store) else "repaired to other bytes"


def _repair(store: Path) -> None:
    """Repair a store, the units that are asked for drawn again."""
    from qloc.simulation.interventions import Effects
    from qloc.simulation.phases import PlantedPhase
    from qloc.simulation.planted import plant
    from qloc.store.repair.whole_store import Repair

    planted = plant(**STUDY)
    with Repair.open(store) as repair:
        if repair.facts:
            repair.put_facts(planted.outline.facts)
        for stage in repair.stages:
            signals = stage.phase == PHASES[0]
            drawn = planted if signals else PlantedPhase.of(planted, Effects(), stage.phase)  # type: ignore[arg-type]
            for unit in stage.units:
                stage.put(drawn.block(unit))
            repair.settle(stage)
        repair.finish()


# Input from strangers


def strangers(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """What benchmarks/hostile_stores.py does, every kind in turn."""
    named = {**dict.fromkeys(UNITS, "hostile units"), **dict.fromkeys(HDF5, "hostile HDF5 files"),
             "texts of files": "hostile texts", "no files": "pipes, devices and links as files"}  # fmt: skip
    kinds = list(hostile_stores.KINDS)
    for kind, handled, _ in hostile_stores.tried_all(range(n), kinds, rng.randrange(10**6)):
        yield named.get(kind, "hostile stores"), handled, "see above"


# Connections


_ANSWERS: Final = (
    "errors 500", "answers cut short", "changed bytes", "answers in chunks", "answers that drip",
)  # fmt: skip


class _Faulty(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, each answer with one kind of fault at random."""

    fault: str = ""
    rng: random.Random
    share = 0.3
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a file, or not quite."""
        if self.rng.random() > self.share:
            super().do_GET()
            return
        try:
            content = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            self.send_error(404)
            return
        if self.fault == "errors 500":
            self.send_error(500)
            return
        if self.fault == "changed bytes" and content:
            at_byte = self.rng.randrange(len(content))
            content = content[:at_byte] + bytes([content[at_byte] ^ 1]) + content[at_byte + 1 :]
        self.send_response(200)
        self.close_connection = True
        if self.fault == "answers in chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if content else b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.fault == "answers that drip":
            with suppress(OSError):  # once it is tired of us
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.5)
            return
        cut = len(content) // 2 if self.fault == "answers cut short" else len(content)
        self.wfile.write(content[:cut])


def connections(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """Pull a store from a server with one kind of fault: it has the source's bytes, or is not there."""
    for number in range(n):
        fault = _ANSWERS[number % len(_ANSWERS)]
        room = _room(whole, f"pull{number}")
        handler = type("Handler", (_Faulty,), {"fault": fault, "rng": random.Random(rng.random())})
        source = str(whole.folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=source))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/whole.zarr"
        wrong = _pulled(url, room / "p.zarr", whole)
        server.shutdown()
        server.server_close()
        yield f"a server with {fault}", not wrong, wrong
        shutil.rmtree(room)


def _pulled(url: str, out: Path, whole: Whole) -> str:
    command = [sys.executable, "-m", "qloc", "store", "pull", url, str(out), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode == 0:
        return "" if contents_of(out) == whole.bytes else "pulled with other bytes"
    if out.exists():
        return f"exit {done.returncode}, and a store is there"
    house = done.stderr.startswith("Error") and "Traceback" not in done.stderr
    return "" if done.returncode in (1, 3) and house else f"exit {done.returncode}: {done.stderr[-300:]}"


# Workers


def workers(whole: Whole, n: int, rng: random.Random) -> Iterator[Outcome]:
    """Kill one of two workers of a real extraction in a phase; it ends well, or does when it is run again."""
    command = [sys.executable, "-m", "qloc", "extract", "--model", "embedded:causal", "--facts", "embedded"]
    command += ["--relations", "capital", "--max-facts", "4", "--unit-facts", "2", "--steps", "3"]
    command += ["--threads", "1", "--quiet", "--out"]
    alone = whole.folder / "alone.zarr"
    subprocess.run([*command, str(alone)], check=True)
    for number in range(n):
        phase, out = PHASES[number % 3], _room(whole, f"workers{number}") / "s.zarr"
        wrong = "did not end"
        for _ in range(
            3
        ):  # where a unit killed several workers, the command says so, and goes on when run again
            child = subprocess.Popen(
                [*command, str(out), "--workers", "2"], stderr=subprocess.PIPE, text=True
            )
            _kill_a_worker(child, out, phase, rng)
            _, said = child.communicate(timeout=1800)
            if child.returncode == 0:
                wrong = "" if _equal_arrays(out, alone) else "other bytes than one process writes"
                break
            if child.returncode != 1 or "Traceback" in said:
                wrong = f"exit {child.returncode}: {said[-300:]}"
                break
        yield f"a worker killed in {phase}", not wrong, wrong
        shutil.rmtree(out.parent)


def _equal_arrays(one: Path, other: Path) -> bool:
    """Whether two stores have the same objects, but for the manifest and the card, which tell the run."""
    first, second = contents_of(one), contents_of(other)
    for name in ("manifest.json", "README.md"):
        first.pop(name), second.pop(name)
    return first == second


def _kill_a_worker(child: subprocess.Popen[str], out: Path, phase: str, rng: random.Random) -> None:
    """Wait until a command is in a phase, and kill one of its processes that run units."""
    while child.poll() is None:
        there = out / "ledger" if phase == PHASES[0] else out / "appending" / phase / "ledger"
        if there.is_dir():
            time.sleep(rng.uniform(0, 2))
            spawned = [pid for pid in _below(child.pid) if b"spawn_main" in _command(pid)]
            if spawned:
                with _gone():
                    os.kill(rng.choice(spawned), signal.SIGKILL)
                return
        time.sleep(0.05)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _below(process: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    found = []
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    for child in map(int, children):
        found += [child, *_below(child)]
    return found


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


# The table

FAULTS: Final[dict[str, tuple[Callable[[Whole, int, random.Random], Iterator[Outcome]], int]]] = {
    "kills": (kills, 30),
    "power": (power, 39),
    "disks": (disks, 10),
    "flips": (flips, 39),
    "strangers": (strangers, 500),
    "connections": (connections, 10),
    "workers": (workers, 3),
}
"""Each kind of fault, and how many are tried at ``--scale 1``."""

Tried = dict[str, dict[str, int]]
"""Of each fault, how many were ``tried`` and ``handled``."""


def tried_of(whole: Whole, name: str, scale: float, seed: int) -> Tried:
    """Try faults of one kind; say on stderr what was not handled."""
    attempt, most = FAULTS[name]
    counts: Tried = {}
    for fault, handled, wrong in attempt(whole, max(3, round(most * scale)), random.Random(f"{seed} {name}")):
        count = counts.setdefault(fault, {"tried": 0, "handled": 0})
        count["tried"] += 1
        count["handled"] += handled
        if not handled:
            print(f"{fault}: {wrong}", file=sys.stderr, flush=True)
    return counts


def table(runs: dict[str, dict[str, Any]]) -> str:
    """Print as Markdown what was tried and handled, and what made it."""
    lines = ["| fault | tried | handled |", "|---|---|---|"]
    of_all = [(fault, of) for run in runs.values() for fault, of in run["counts"].items()]
    lines += [f"| {fault} | {of['tried']} | {of['handled']} |" for fault, of in of_all]
    total = [sum(of[which] for _, of in of_all) for which in ("tried", "handled")]
    lines += [f"| all | {total[0]} | {total[1]} |", ""]
    lines += [
        f"- `python {run['command']}`: {run['minutes']:.1f} minutes of a processor" for run in runs.values()
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the table; exit 1 where something was not handled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="how many of each, of the documented run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, action="append", help="may be repeated")
    parser.add_argument("--write", action="store_true", help=f"renew these rows of results/{RESULTS.name}")
    asked = parser.parse_args()
    runs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = uninterrupted(Path(folder))
        for name in asked.only or FAULTS:
            before = _used()
            counts = tried_of(whole, name, asked.scale, asked.seed)
            command = f"benchmarks/reliability.py --scale {asked.scale:g} --seed {asked.seed} --only {name}"
            runs[name] = {"command": command, "minutes": (_used() - before) / 60, "counts": counts}
            if asked.write:
                _write(name, runs[name])
    print(table(runs))
    return int(any(of["handled"] < of["tried"] for run in runs.values() for of in run["counts"].values()))


def _used() -> float:
    """Seconds of a processor that this process and those it waited for took."""
    return sum(sum(resource.getrusage(of)[:2]) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _write(name: str, run: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[name] = run
    RESULTS.write_text(json.dumps({name: kept[name] for name in FAULTS if name in kept}, indent=1) + "\n")
    ordered = json.loads(RESULTS.read_text())
    RESULTS.with_suffix(".md").write_text(f"# Faults, tried and handled\n\n{table(ordered)}\n")


if __name__ == "__main__":
    sys.exit(main())
