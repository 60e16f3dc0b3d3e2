"""Inputs from a stranger, changed in hundreds of ways, through every command that reads them.

    python benchmarks/hostile_stores.py [--stores 500] [--seed 0] [--only KIND] [--json FILE]

Complete stores: a planted one, or one of ten times the shipped one, with something changed (metadata,
values, bytes of chunks, the sizes that chunks declare, missing and added objects, the manifest) and sealed
anew, so that ``verify`` has nothing to compare with but sense. Unfinished stores, with other unit files and
records that fit. HDF5 files. Texts and what is no file, in the place of plans, facts, neurons, results,
manifests and ledgers. A process forked for each runs the commands over it. Handled is what works, or is
refused with exit code 2 or 3; not handled are tracebacks, other exit codes, signals, more than 2 GB of
memory, and more than five minutes of processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import pkgutil
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

from _hostile_changes import CHANGES, Rng, seal
from _hostile_inputs import HDF5, UNITS, special, text

import qloc.analysis
import qloc.cli
import qloc.reports
import qloc.store
import qloc.workflows
from qloc.shipped import archive

MOST_MEMORY: Final = 2 * 10**9
MOST_SECONDS: Final = 300
MOST_WAITING: Final = 900
UNITS_PLANNED: Final = 4
SHIPPED_EVERY: Final = 10

Step = tuple[str, list[str] | Callable[[], object]]
"""A name, and the arguments of a command or something to call."""


@dataclass(frozen=True)
class Kind:
    """One kind of hostile input.

    Attributes
    ----------
    base : callable
        Copies what is changed into a folder; is given the bases, that folder, and the input's number.
    change : callable
        Changes it in that folder, by a seeded generator; says how.
    steps : callable
        What is run over it.
    """

    base: Callable[[Bases, Path, int], None]
    change: Callable[[Path, Rng], str]
    steps: Callable[[Path], list[Step]]


class Bases:
    """What is changed, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cache  # noqa: B019  (one object a run)
    def store(self) -> Path:
        """The shipped store of a causal model, with every phase."""
        path = self._folder / "base.zarr"
        shutil.unpack_archive(archive("causal"), path, "zip")
        return path

    @cache  # noqa: B019
    def small(self) -> Path:
        """A planted store of a few facts with every phase, its export, results and a registration."""
        path = self._folder / "small" / "s.zarr"
        path.parent.mkdir()
        said, _ = forked(partial(_planted, path))
        if said:
            raise RuntimeError(said)
        return path

    @cache  # noqa: B019
    def unfinished(self) -> Path:
        """An extraction of four units, killed after three."""
        folder = self._folder / "unfinished"
        folder.mkdir()
        from kills import killed_with_units, plan_of, warm  # torch, which only these inputs need

        plan = plan_of(folder, UNITS_PLANNED)
        warm(plan)
        killed_with_units(plan, folder / "s.zarr", UNITS_PLANNED - 1)
        bare = Path(shutil.copytree(folder / "s.zarr", folder / "bare.zarr"))
        for path in (*bare.glob("units/unit-*"), *bare.glob("ledger/unit-*")):
            path.unlink()
        return folder


def _planted(path: Path) -> str:
    from qloc.simulation.simulate import simulate
    from qloc.store.exchange.hdf5 import export
    from qloc.workflows.exchange import export_neurons

    simulate(path, facts=6, relations=2, templates=3, seed=1)
    export(path, path.with_suffix(".h5"))
    export_neurons(path, path.with_name("neurons.json"))
    plan = path.with_name("plan.yaml")
    plan.write_text('{"analysis": {"n_permutations": 99, "n_bootstrap": 99, "thresholds": [0.2]}, "seed": 3}')
    for arguments in (
        ["analyze", str(path), "--plan", str(plan), "--out", str(path.with_name("results")), "--quiet"],
        ["plan", "lock", str(plan), "--out", str(path.with_name("locked.json"))],
    ):
        if (ended := _ended(arguments)) is not None:
            raise RuntimeError(ended)
    return ""


# Complete stores


def _copy_store(bases: Bases, out: Path, number: int) -> None:
    shutil.copytree(bases.small() if number % SHIPPED_EVERY else bases.store(), out / "s.zarr")


def _change_store(change: Callable[[Path, Rng], str], out: Path, rng: Rng) -> str:
    said = change(out / "s.zarr", rng)
    seal(out / "s.zarr")
    zipped(out / "s.zarr", out / "given.zarr.zip")
    return said


def zipped(store: Path, target: Path) -> None:
    """Pack a store without looking into it."""
    import zipfile

    with zipfile.ZipFile(target, "w") as archive_file:
        for path in sorted(p for p in store.rglob("*") if p.is_file()):
            archive_file.write(path, path.relative_to(store).as_posix())


def store_steps(out: Path) -> list[Step]:
    """The commands over a complete store, in order; what one makes, later ones read."""
    store, plan = str(out / "s.zarr"), out / "plan.yaml"
    plan.write_text("analysis:\n  n_permutations: 99\n  n_bootstrap: 99\n  thresholds: [0.2]\n")
    return [
        ("verify", ["store", "verify", store]),
        ("info", ["store", "info", store]),
        ("show", ["show", store, "France"]),
        ("facts list", ["facts", "list", store]),
        ("analyze", ["analyze", store, "--plan", str(plan), "--out", str(out / "results"), "--quiet"]),
        ("report", ["report", str(out / "results"), "--format", "md"]),
        ("diff", ["store", "diff", str(archive("causal")), store]),
        ("cite", ["cite", store]),
        ("pack", ["store", "pack", store, str(out / "p.zarr.zip")]),
        ("push", ["store", "push", store, (out / "pushed.zarr").as_uri(), "--quiet"]),
        ("pull", ["store", "pull", (out / "s.zarr").as_uri(), str(out / "pulled.zarr"), "--quiet"]),
        ("unpack", ["store", "unpack", str(out / "given.zarr.zip"), str(out / "unpacked.zarr")]),
        ("export", ["store", "export", store, str(out / "e.h5")]),
        ("export neurons", ["store", "export", store, str(out / "n.json"), "--format", "neurons"]),
        ("import", ["store", "import", str(out / "e.h5"), str(out / "imported.zarr")]),
        ("repair", ["store", "repair", store, "--quiet"]),
    ]


# Unfinished stores


def _copy_unfinished(bases: Bases, out: Path, number: int) -> None:
    shutil.copytree(bases.unfinished(), out, dirs_exist_ok=True)


def unfinished_steps(out: Path) -> list[Step]:
    """Open, merge, complete and go on with an unfinished store."""
    store, other = str(out / "s.zarr"), str(out / "bare.zarr")
    return [
        ("open", partial(read_whole, out / "s.zarr")),
        ("info", ["store", "info", store]),
        ("verify", ["store", "verify", store]),
        ("merge", ["store", "merge", store, other, str(out / "m.zarr")]),
        ("repair", ["store", "repair", store, "--quiet"]),
        ("resume", partial(_resumed, out)),
        ("verify again", ["store", "verify", store]),
    ]


def read_whole(path: Path) -> None:
    """Open a store, and read all of it."""
    from qloc.store.reading.open_store import GROUPS, open_store

    study = open_store(path)
    for name in GROUPS:
        if (group := getattr(study, name)) is not None:
            group.load()


def _resumed(out: Path) -> None:
    from kills import plan_of

    from qloc.workflows.extract import extract_study

    extract_study(plan_of(out, UNITS_PLANNED), out / "s.zarr")


# HDF5


def _copy_hdf5(bases: Bases, out: Path, number: int) -> None:
    shutil.copyfile(bases.small().with_suffix(".h5"), out / "e.h5")


def hdf5_steps(out: Path) -> list[Step]:
    """Import an HDF5 file."""
    return [
        ("import", ["store", "import", str(out / "e.h5"), str(out / "i.zarr")]),
        ("verify", ["store", "verify", str(out / "i.zarr")]),
    ]


# Texts


def _copy_texts(bases: Bases, out: Path, number: int) -> None:
    """Files of every kind that people write or send, as they should be."""
    shutil.copytree(bases.small().parent, out, dirs_exist_ok=True)
    shutil.copytree(bases.unfinished() / "s.zarr", out / "u.zarr")
    shutil.copyfile(bases.unfinished() / "facts.jsonl", out / "facts.jsonl")
    (out / "facts.csv").write_text("id,relation,subject,object,query\n1,capital,France,Paris,[X] has [Y].\n")
    (out / "sets.json").write_text('{"mine": {"0": [[0, 1], [1, 2]]}}')
    (out / "published.yaml").write_text('{"chen": {"title": "x", "source": "x", "plan": {}, "settings": []}}')


TEXTS: Final[dict[str, list[list[str]]]] = {
    "plan.yaml": [
        ["analyze", "s.zarr", "--plan", "plan.yaml", "--out", "r", "--quiet"],
        ["plan", "lock", "plan.yaml"],
        ["extract", "--plan", "plan.yaml", "--model", "embedded:causal", "--print-plan", "--out", "o.zarr"],
    ],
    "locked.json": [["analyze", "s.zarr", "--plan", "locked.json", "--out", "r", "--quiet"]],
    "facts.jsonl": [["facts", "check", "facts.jsonl", "--model", "embedded:causal"]],
    "facts.csv": [["facts", "check", "facts.csv", "--model", "embedded:causal"]],
    "sets.json": [
        ["extract", "--model", "embedded:causal", "--facts", "embedded", "--max-facts", "1", "--sets",
         "sets.json", "--out", "o.zarr", "--dry-run"]
    ],
    "neurons.json": [["store", "import", "neurons.json", "--store", "s.zarr"]],
    "published.yaml": [["reproduce", "chen", "s.zarr", "--published", "published.yaml", "--out", "rep"]],
    "results/study.json": [["report", "results", "--format", "md"], ["report", "results"]],
    "results/explorer.json": [["report", "results"]],
    "s.zarr/manifest.json": [["store", "info", "s.zarr"], ["store", "verify", "s.zarr"],
                             ["store", "repair", "s.zarr"], ["store", "pack", "s.zarr"]],
    "s.zarr/zarr.json": [["store", "info", "s.zarr"], ["store", "verify", "s.zarr"],
                         ["store", "repair", "s.zarr"], ["cite", "s.zarr"]],
    "s.zarr/signals/panel_neuron/zarr.json": [["store", "info", "s.zarr"], ["store", "repair", "s.zarr"]],
    "s.zarr/queries/rank/c/0": [["show", "s.zarr", "1"], ["store", "verify", "s.zarr"],
                                ["store", "repair", "s.zarr"]],
    "u.zarr/zarr.json": [["store", "info", "u.zarr"], ["store", "repair", "u.zarr"]],
    "u.zarr/ledger/skeleton.json": [["store", "info", "u.zarr"], ["store", "repair", "u.zarr"]],
    "u.zarr/ledger/unit-000000.json": [["store", "info", "u.zarr"], ["store", "repair", "u.zarr"]],
}  # fmt: skip
"""Files, and the commands that read them; each runs in the folder of the files."""


def _change_text(change: Callable[[Path, Rng], str], out: Path, rng: Rng) -> str:
    name = rng.choice(list(TEXTS))
    (out / "changed").write_text(name)
    return f"{name}: {change(out / name, rng)}"


def text_steps(out: Path) -> list[Step]:
    """The commands that read the text that was changed."""
    os.chdir(out)
    return [(" ".join(command[:2]), command) for command in TEXTS[(out / "changed").read_text()]]


def _change_at(name: str, change: Callable[[Path, Rng], str], out: Path, rng: Rng) -> str:
    return change(out / name, rng)


KINDS: Final[dict[str, Kind]] = {
    **{
        name: Kind(_copy_store, partial(_change_store, change), store_steps)
        for name, change in CHANGES.items()
    },
    **{
        name: Kind(_copy_unfinished, partial(_change_at, "s.zarr", change), unfinished_steps)
        for name, change in UNITS.items()
    },
    **{
        name: Kind(_copy_hdf5, partial(_change_at, "e.h5", change), hdf5_steps)
        for name, change in HDF5.items()
    },
    "texts of files": Kind(_copy_texts, partial(_change_text, text), text_steps),
    "no files": Kind(_copy_texts, partial(_change_text, special), text_steps),
}


# How they are run


def _ended(step: Sequence[str] | Callable[[], object]) -> str | None:
    """Run a step in this process; say how it ended if that is not handled."""
    from typer.testing import CliRunner

    from qloc.cli import app
    from qloc.errors import QlocError

    if callable(step):
        try:
            step()
        except QlocError as error:
            return None if error.exit_code in (2, 3) else f"exit {error.exit_code}: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]} ({_place(error)})"
        return None
    result = CliRunner().invoke(app, list(step), prog_name="qloc")
    if (raised := result.exception) is not None and not isinstance(raised, SystemExit):
        return f"{type(raised).__name__}: {str(raised)[:100]} ({_place(raised)})"
    return None if result.exit_code in (0, 2, 3) else f"exit {result.exit_code}: {result.output[-300:]}"


def _place(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""


def run_steps(steps: Callable[[Path], list[Step]], out: Path) -> str:
    """Run every step; say as JSON which were not handled."""
    return json.dumps({name: ended for name, step in steps(out) if (ended := _ended(step)) is not None})


def forked(work: Callable[[], str], *, quiet: bool = True) -> tuple[str, int]:
    """Run something in a process of its own, so that this one never starts zarr's threads.

    Returns what it gave, and its memory in bytes at most.
    """
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.close(reading)
        signal.alarm(MOST_WAITING)
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        aside = io.StringIO()
        with contextlib.redirect_stdout(aside), contextlib.redirect_stderr(aside):
            try:
                said = work()
            except BaseException as error:
                said = json.dumps({"the harness": f"{error!r} ({_place(error)})"})
        with os.fdopen(writing, "w") as target:
            target.write(said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as source:
        said = source.read()
    _, status, used = os.wait4(child, 0)
    ended = json.dumps({"process": f"ended by {status}"})
    return (ended if status else said), used.ru_maxrss * 1024


def tried(kind: str, number: int, seed: int, bases: Bases, out: Path) -> tuple[str, dict[str, str], int]:
    """Change one input and run the commands over it: the change, what was not handled, bytes of memory."""
    made = KINDS[kind]
    out.mkdir()
    made.base(bases, out, number)
    said, _ = forked(lambda: made.change(out, Rng(f"{seed} {number}")))
    bad, memory = forked(lambda: run_steps(made.steps, out))
    told: dict[str, str] = json.loads(bad)
    if said.startswith(('{"the harness"', '{"process"')):
        told["change"] = said
    if memory > MOST_MEMORY:
        told["memory"] = f"{memory / 1e9:.1f} GB"
    shutil.rmtree(out)
    return said, told, memory


def warm() -> None:
    """Import once, before any fork, what each process would import (without torch)."""
    for package in (qloc.cli, qloc.workflows, qloc.store, qloc.analysis, qloc.reports):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def tried_all(
    numbers: Sequence[int], kinds: Sequence[str], seed: int, lines: Path | None = None
) -> Iterator[tuple[str, bool, int]]:
    """Try inputs one after the other; yield kind, whether it was handled, and bytes of memory."""
    warm()
    with tempfile.TemporaryDirectory() as folder:
        bases = Bases(Path(folder))
        for n in numbers:
            kind = kinds[n % len(kinds)]
            said, bad, memory = tried(kind, n, seed, bases, Path(folder) / "out")
            if bad:
                print(f"{n} {kind}, {said}: {bad}", file=sys.stderr, flush=True)
                if lines:
                    with lines.open("a") as file:
                        file.write(json.dumps({"n": n, "kind": kind, "change": said, "bad": bad}) + "\n")
            yield kind, not bad, memory


def main() -> int:
    """Print, of each kind of change, how many were tried and handled; exit 1 where one was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number to begin with")
    parser.add_argument("--only", choices=KINDS, action="append")
    parser.add_argument("--json", type=Path, help="append what was not handled, one line each")
    asked = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    most, began = 0, time.monotonic()
    numbers = range(asked.first, asked.first + asked.stores)
    for kind, handled, memory in tried_all(numbers, asked.only or list(KINDS), asked.seed, asked.json):
        counts[kind].update({"tried": 1, "handled": int(handled)})
        most = max(most, memory)
    print(f"{'kind':<20} {'tried':>6} {'handled':>8}")
    for kind, count in counts.items():
        print(f"{kind:<20} {count['tried']:>6} {count['handled']:>8}")
    total = sum((count for count in counts.values()), Counter())
    minutes = (time.monotonic() - began) / 60
    print(f"{'all':<20} {total['tried']:>6} {total['handled']:>8}")
    print(f"At most {most / 1e9:.2f} GB of memory; {minutes:.0f} minutes.")
    return int(total["handled"] < total["tried"])


if __name__ == "__main__":
    sys.exit(main())
