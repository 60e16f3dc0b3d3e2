"""``python -m qloc.shipped``: extracts the shipped stores anew and puts them in their place; needs torch."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from qloc.errors import StorageError, message
from qloc.progress import Progress
from qloc.shipped import KINDS, MOST_BYTES, shipped_plan
from qloc.workflows.extract import extract_study


def make(folder: Path, progress: Progress) -> list[Path]:
    """Extract and pack the store of each model into ``folder``, over what is there.

    Parameters
    ----------
    folder : Path
        Where the archives go.
    progress : Progress
        Told of each step.

    Returns
    -------
    list of Path
        The archives.

    Raises
    ------
    StorageError
        Together they are larger than what may be shipped; none is replaced.
    """
    from qloc.store.exchange.pack import pack

    with tempfile.TemporaryDirectory(dir=folder, prefix=".shipping-") as aside:
        packed = []
        for kind in KINDS:
            store = extract_study(shipped_plan(kind), Path(aside) / f"{kind}.zarr", progress=progress).path
            packed.append(pack(store))
        size = sum(path.stat().st_size for path in packed)
        if size > MOST_BYTES:
            what, rule = "bytes of the shipped stores", f"{MOST_BYTES} at most"
            raise StorageError(message(what, size, rule, str(folder), "Ship fewer facts or relations"))
        return [path.replace(folder / path.name) for path in packed]


def main() -> None:
    """Make the archives of this package, or those of another folder."""
    parser = argparse.ArgumentParser(prog="python -m qloc.shipped", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    out = parser.parse_args().out
    with Progress() as progress:
        for path in make(out, progress):
            progress.say(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
