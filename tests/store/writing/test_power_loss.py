"""Power is lost: what was not flushed is gone, and an extraction that goes on gives the uninterrupted store."""

import sys
from pathlib import Path

import forked

PROGRAM = Path(__file__).parents[1] / "support" / "lost_power.py"
LOSSES = 3


def losses(folder, *more):
    command = [sys.executable, str(PROGRAM), str(folder), str(LOSSES), "0", *more]
    return forked.run(command, capture_output=True, text=True, timeout=800, check=False)


def test_what_was_not_flushed_is_written_again(tmp_path):
    done = losses(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lost = [int(line) for line in done.stdout.split()]
    assert len(lost) == LOSSES
    assert any(lost), "no loss took anything away"


def test_without_flushes_power_losses_are_noticed(tmp_path):
    """The negative control: were nothing flushed, the simulated losses would leave another store."""
    done = losses(tmp_path, "never")
    assert done.returncode == 1
    assert done.stderr.startswith("loss ")
