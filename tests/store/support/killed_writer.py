"""Programs that tests run as processes, and kill.

python killed_writer.py write STORE              extract a made-up study, telling each unit
python killed_writer.py hold STORE               hold the store's lock until stdin ends
python killed_writer.py instants STORE N SEED    for N instants: kill an extraction at its n-th step that
                                                 touches the disk, kill the next one, let a third one end
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import FINGERPRINT, Synthetic

from qloc.store.writing.writer import Writer


def write(path, pause=0.0):
    study = Synthetic()
    with Writer.open(path, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
            print(unit.number, flush=True)
            time.sleep(pause)
        writer.finalize({"device": "cpu"})


def hold(path):
    with Writer.open(path, Synthetic().outline(), FINGERPRINT):
        print("held", flush=True)
        sys.stdin.read()


def instants(path, n, seed):
    rng = random.Random(seed)
    steps = count_steps(path / "counted")
    print(steps, flush=True)
    # Evenly over the whole run, and each of the last steps, which write the manifest and clear up.
    points = [round((i + 0.5) * steps / n) for i in range(n)] + [steps - 3, steps - 2, steps - 1]
    for i, point in enumerate(points):
        store = path / f"{i}.zarr"
        for budget in (point, rng.randrange(1, steps)):
            in_child(store, budget)
        if in_child(store, None) != 0:
            raise SystemExit(f"killed at step {point} of {steps}: did not end well when run again")


def count_steps(path):
    """How many steps that touch the disk an extraction takes."""
    reader, writer = os.pipe()
    if in_child(path, None, report=writer):
        raise SystemExit("the uninterrupted extraction failed")
    os.close(writer)
    return int(os.read(reader, 99))


def in_child(path, budget, report=None):
    """Extract in a forked process that kills itself when ``budget`` steps are done; its wait status."""
    child = os.fork()
    if child == 0:
        taken = die_after(budget)
        sys.stdout = open(os.devnull, "w")
        write(path)
        if report is not None:
            os.write(report, str(taken[0]).encode())
        os._exit(0)
    return os.waitpid(child, 0)[1]


def die_after(budget):
    """Count fsync, rename, replace, unlink and mkdir, and die in front of the one after ``budget``."""
    taken = [0]

    def counting(step):
        def counted(*args, **kwargs):
            taken[0] += 1
            if budget is not None and taken[0] > budget:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return counted

    os.fsync = counting(lambda descriptor: None)  # slow, and of no use against SIGKILL
    for name in ("rename", "replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, counting(getattr(os, name)))
    return taken


if __name__ == "__main__":
    command, path, *rest = sys.argv[1:]
    if command == "write":
        write(Path(path), *map(float, rest))
    elif command == "hold":
        hold(Path(path))
    else:
        instants(Path(path), *map(int, rest))
