"""`import qloc` is light; and what needs no torch imports none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TORCH = {"torch", "transformers", "tokenizers", "safetensors"}
HEAVY = TORCH | {
    "dask",
    "distributed",
    "h5py",
    "jinja2",
    "matplotlib",
    "pandas",
    "scipy",
    "statsmodels",
    "xarray",
    "zarr",
}
JOINERS = {"__main__", "cli", "demo", "extracting", "phases", "pipeline", "repairing", "simulate"}

FACE = sorted(p.stem for p in (ROOT / "src" / "qloc").glob("*.py") if p.stem not in {"__init__", *JOINERS})


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level names in sys.modules of a fresh interpreter that imported `modules`."""
    program = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def modules_of(room: str) -> list[str]:
    paths = sorted((ROOT / room).rglob("*.py"))
    dotted = (".".join(("qloc", *p.relative_to(ROOT).with_suffix("").parts)) for p in paths)
    return [name.removesuffix(".__init__") for name in dotted]


def test_what_loaded_by_sees_is_real():
    assert {"numpy", "json"} <= loaded_by("numpy")


def test_import_qloc_is_light():
    assert loaded_by("qloc") & HEAVY == set()


def test_command_line_starts_light():
    assert loaded_by("qloc.cli") & HEAVY == set()


def test_face_is_torch_free():
    assert (
        loaded_by(*(f"qloc.{name}" for name in FACE)) & (TORCH | {"zarr", "h5py", "jinja2", "matplotlib"})
        == set()
    )


@pytest.mark.parametrize("room", ["store", "analysis", "reports"])
def test_room_is_torch_free(room):
    assert loaded_by(*modules_of(room)) & TORCH == set()
