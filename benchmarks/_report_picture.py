"""Take the README's pictures of the demonstration's report, light and dark.

    python benchmarks/_report_picture.py qloc-demo/report.html

Writes ``docs/report-light.png``, ``docs/report-dark.png``, and ``docs/report-picture.sha256``: the digest of
what decides how the top of a report looks. ``tests/test_docs.py`` compares it, and says when to take them
anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIGEST: Final = ROOT / "docs" / "report-picture.sha256"
DRAWN_FROM: Final = (
    "reports/figures/palette.py",
    "reports/figures/row_plots.py",
    "reports/forest.py",
    "reports/renderers/templates/report.css",
    "reports/renderers/templates/parts.html.j2",
    "reports/renderers/templates/report.html.j2",
)
"""Files that decide how the top of a report looks."""

SCHEMES: Final = {"light": 1, "dark": 0}
"""Names of the pictures, and Chromium's number of the colour scheme."""


def digest() -> str:
    """Return the sha256 of what the pictures are drawn from.

    Returns
    -------
    str
        Hexadecimal, of each file's name and sha256.
    """
    lines = (f"{name} {sha256((ROOT / name).read_bytes()).hexdigest()}\n" for name in DRAWN_FROM)
    return sha256("".join(lines).encode()).hexdigest()


def take(report: Path) -> None:
    """Take both pictures of a report, and keep the digest.

    Parameters
    ----------
    report : Path
        An HTML report.

    Raises
    ------
    SystemExit
        No Chromium is installed.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit(
            "Chromium is not found; expected chromium or google-chrome on the PATH. Install one of them."
        )
    for name, scheme in SCHEMES.items():
        with tempfile.TemporaryDirectory() as profile:
            subprocess.run(
                [
                    chromium,
                    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                    *("--window-size=1000,1560", "--virtual-time-budget=6000", f"--user-data-dir={profile}"),
                    f"--blink-settings=preferredColorScheme={scheme}",
                    f"--screenshot={ROOT / 'docs' / f'report-{name}.png'}",
                    report.resolve().as_uri(),
                ],
                check=True,
            )
    DIGEST.write_text(f"{digest()}\n", encoding="utf-8")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
