"""``qloc store export`` and ``import``, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

from commands import done, refused


def test_export_and_import(planted: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "p.h5", tmp_path / "back.zarr"
    said = done("store", "export", planted, file)
    assert said.startswith(f"File: {file} (")
    assert said.endswith(f"Next:\n  qloc store import {file} COPY.zarr\n")
    assert done("store", "import", file, back) == (
        f"Store: {back}, every array as it was exported.\nNext:\n  qloc analyze {back}\n"
    )
    assert (back / "manifest.json").read_bytes() == (planted / "manifest.json").read_bytes()


def test_neurons_as_json(planted: Path, tmp_path: Path) -> None:
    file = tmp_path / "n.json"
    said = done("store", "export", planted, file, "--format", "neurons", "--threshold", 0.3, "--share", 0)
    assert said.endswith(f"Next:\n  qloc store import {file} --store {planted}\n")
    found = json.loads(file.read_bytes())
    found = {**dict(list(found.items())[:5]), "other": []}
    file.write_text(json.dumps(found))
    said = done("store", "import", file, "--store", planted, "--threshold", 0.3, "--share", 0)
    assert said == (
        f"{file}: 5 facts of {planted}; 1 in the file only, 7 in the store only\n"
        "  refined neurons of a fact, Jaccard: mean 1.0000, smallest 1.0000, "
        f"100% of the facts have equal ones\nNext:\n  qloc analyze {planted}\n"
    )
    file.write_text("{}")
    assert done("store", "import", file, "--store", planted).startswith(f"{file}: 0 facts of {planted}; 0 in")


def test_wrong_usage_of_export_and_import(planted: Path, tmp_path: Path) -> None:
    assert refused("store", "export", planted, tmp_path / "x", "--format", "csv") == (
        "Error: format is 'csv'; expected hdf5 or neurons. At --format. Correct it."
    )
    rule = "expected OUT, of an HDF5 file, or --store, of neurons as JSON. At qloc store import. Give one."
    assert refused("store", "import", "x.h5") == f"Error: target is 'neither'; {rule}"
    assert refused("store", "import", "x.h5", "out", "--store", planted) == f"Error: target is 'both'; {rule}"
