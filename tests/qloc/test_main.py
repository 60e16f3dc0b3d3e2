"""``python -m qloc`` is the command line."""

import subprocess
import sys

from qloc.version import __version__


def test_the_package_can_be_run():
    done = subprocess.run(
        [sys.executable, "-m", "qloc", "--version"], capture_output=True, text=True, cwd="/"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"qloc {__version__}\n", "")
