"""A program that tests run: power is lost while a made-up study is written, again and again.

python lost_power.py FOLDER N SEED [never]    for N losses: kill an extraction with a phase in front of a random
                                              step that touches the disk, take away what it had not flushed, let
                                              it end; never: as if nothing had been flushed
"""

import os
import random
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import synthetic_phase
from _killing import at, contents, never, not_flushed, started
from _power_loss import log_steps, lose_power
from synthetic import Synthetic, write_store

STUDY = Synthetic()


def write(path):
    write_store(path, STUDY)
    synthetic_phase.append(path, "edits")


def unheard(root, aside):
    """Log steps, but no flush."""
    log_steps(root, aside)
    return not_flushed


def losses(folder, n, seed, log):
    """Print how many steps were lost at each loss; fail where another store is there in the end."""
    rng = random.Random(seed)
    reading, writing = os.pipe()
    if os.waitpid(started(partial(write, folder / "whole.zarr"), never, report=writing), 0)[1]:
        raise SystemExit("the uninterrupted extraction failed")
    steps, whole = int(os.read(reading, 99)), contents(folder / "whole.zarr")
    for number in range(n):
        root, before, aside = (folder / f"{name}{number}" for name in ("root", "before", "aside"))
        for made in (root, before, aside):
            made.mkdir()
        step = at(rng.randrange(steps * number // n, steps * (number + 1) // n))
        flush = partial(log, root, aside)
        os.waitpid(started(partial(write, root / "s.zarr"), step, flush=flush), 0)
        print(lose_power(root, before, aside, rng), flush=True)
        if os.waitpid(started(partial(write, root / "s.zarr"), never), 0)[1]:
            raise SystemExit(f"loss {number}: did not end well when it was run again")
        if contents(root / "s.zarr") != whole or [path.name for path in root.iterdir()] != ["s.zarr"]:
            raise SystemExit(f"loss {number}: another store, or litter: {sorted(root.iterdir())}")
        for made in (root, before, aside):
            shutil.rmtree(made)


if __name__ == "__main__":
    losses(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), unheard if sys.argv[4:] else log_steps)
