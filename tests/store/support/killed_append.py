"""Programs that append phases to a store, and that tests kill.

python killed_append.py append STORE             append both made-up phases, telling each unit
python killed_append.py hold STORE               hold a phase open until stdin ends
python killed_append.py instants STORE OUT N SEED
                                                 for N instants: copy STORE, kill appending to it at its n-th step
                                                 that touches the disk, kill the next one, let a third one end;
                                                 and kill it at each step that moves a phase in. Tells after which
                                                 kills what had been there did not open, and did not verify
"""

import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import killed_writer
from synthetic_phase import block, fingerprint, outline

from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.writing import append as phase_append
from qloc.store.writing.phase_writer import PhaseWriter

PHASES = ("interventions", "edits")


def append(path, pause=0.0):
    for phase in PHASES:
        with PhaseWriter.open(path, outline(phase), fingerprint(phase)) as writer:
            for unit in writer.missing():
                writer.write(block(phase, unit))
                print(phase, unit.number, flush=True)
                time.sleep(pause)
            writer.finalize({"device": "cpu"})


def hold(path):
    with PhaseWriter.open(path, outline("edits"), fingerprint("edits")):
        print("held", flush=True)
        sys.stdin.read()


def instants(store, out, n, seed):
    rng = random.Random(seed)
    killed_writer.write = append  # what in_child runs
    shutil.copytree(store, out / "counted.zarr")
    steps = killed_writer.count_steps(out / "counted.zarr")
    told = {"steps": steps, "unopened": [], "unverified": []}
    for point in [round((i + 0.5) * steps / n) for i in range(n)]:
        path = out / f"{point}.zarr"
        shutil.copytree(store, path)
        killed_writer.in_child(path, point)
        tell(path, point, told)
        killed_writer.in_child(path, rng.randrange(1, steps))
        end(path)
    for step in range(STEPS_IN):
        path = out / f"in-{step}.zarr"
        shutil.copytree(store, path)
        while_moving_in(path, step)
        tell(path, f"in-{step}", told)
        end(path)
    print(json.dumps(told))


STEPS_IN = 10
"""Three groups, card, root and manifest are renamed, two folders fsynced, one removed; and one step more."""


def while_moving_in(path, budget):
    """Append in a forked process that kills itself at a step of the first phase's last renames."""
    child = os.fork()
    if child == 0:
        sys.stdout = open(os.devnull, "w")
        moved_in = phase_append._move_in

        def counted(*arguments):
            killed_writer.die_after(budget)
            moved_in(*arguments)

        phase_append._move_in = counted
        append(path)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 9:
        raise SystemExit(f"not killed at step {budget} of moving in")


def tell(path, point, told):
    try:
        open_store(path).signals["attribution"].load()
        verified = verify(path) == []
    except Exception:
        told["unopened"].append(point)
        verified = False
    if not verified:
        told["unverified"].append(point)


def end(path):
    if killed_writer.in_child(path, None) != 0:
        raise SystemExit(f"{path}: did not end well when run again")


if __name__ == "__main__":
    command, path, *rest = sys.argv[1:]
    if command == "append":
        append(Path(path), *map(float, rest))
    elif command == "hold":
        hold(Path(path))
    else:
        instants(Path(path), Path(rest[0]), *map(int, rest[1:]))
