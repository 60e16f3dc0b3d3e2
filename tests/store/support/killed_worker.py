"""Work on made-up units that workers can import, in which a worker is killed, errs, or looks around.

python killed_worker.py STORE       extract a made-up study in two workers that take their time, telling each unit
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import FINGERPRINT, Synthetic

from qloc.errors import InputError, ModelError
from qloc.store.writing.writer import Writer, write_unit
from qloc.workers import dask_clients
from qloc.workers.runner import runner

STUDY = Synthetic(n_facts=16, unit_facts=2)


@dataclass(frozen=True)
class Work:
    """Write a unit's file, as a worker does."""

    store: Path

    def __call__(self, unit):
        self.before(unit)
        return write_unit(self.store, STUDY.block(unit), notes={"pid": os.getpid()})

    def before(self, unit):
        pass


@dataclass(frozen=True)
class Killed(Work):
    """The worker is killed at its first try of unit 2, while it works, and of unit 4, while it writes."""

    notes: Path

    def before(self, unit):
        tried = self.notes / f"{unit.number}-{os.getpid()}"
        first = not list(self.notes.glob(f"{unit.number}-*"))
        tried.touch()
        if first and unit.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if first and unit.number == 4:  # its file is open, under a temporary name
            os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Deadly(Work):
    """Every worker dies of unit 3."""

    def before(self, unit):
        if unit.number == 3:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Erring(Work):
    """Unit 1 errs while unit 0 is being run."""

    def before(self, unit):
        told = self.store.with_name("told")
        if unit.number == 1:
            told.touch()
            raise InputError(["one problem", "another"])
        while not told.exists():
            time.sleep(0.01)
        time.sleep(1)


@dataclass(frozen=True)
class Slow(Work):
    def before(self, unit):
        time.sleep(0.3 if unit.number < 2 else 60)


def not_finite():
    raise ModelError("NaN")


def surroundings():
    time.sleep(0.2)  # or one worker might do all
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


def surroundings_of(unit):
    return surroundings()


def extract(store, work, run):
    """Extract the made-up study by a runner; the units in the order in which they came."""
    came = []
    with Writer.open(store, STUDY.outline(), FINGERPRINT) as writer:
        for unit, record in run.each(work, writer.missing()):
            writer.record(record)
            came.append(unit.number)
            print(unit.number, flush=True)
        writer.finalize({"device": "cpu"})
    return came


if __name__ == "__main__":
    # Nothing here needs the model, which takes seconds to import.
    dask_clients._PRELOADED = ("distributed", "qloc.store.writing.writer")  # type: ignore[assignment, misc]
    try:
        with runner(2, None) as run:
            extract(Path(sys.argv[1]), Slow(Path(sys.argv[1])), run)
    except KeyboardInterrupt:
        sys.exit(130)
