"""`import qloc` is light; and what needs no torch imports none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import qloc

ROOT = Path(__file__).resolve().parents[1]
TORCH = {"torch", "transformers", "tokenizers", "safetensors"}
HEAVY = TORCH | {
    "dask",
    "distributed",
    "fsspec",
    "h5py",
    "huggingface_hub",
    "jinja2",
    "matplotlib",
    "obstore",
    "pandas",
    "scipy",
    "statsmodels",
    "xarray",
    "zarr",
}
# What joins rooms, or starts a command.
JOINERS = {"qloc.__main__", "qloc.simulation.simulate"}


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


def face() -> list[str]:
    """Return the modules of the face that no room stands behind."""
    folders = ("", "workers", "simulation")
    paths = [path for folder in folders for path in sorted((ROOT / "src" / "qloc" / folder).glob("*.py"))]
    dotted = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in dotted if name not in JOINERS]


def test_what_loaded_by_sees_is_real():
    assert {"numpy", "json"} <= loaded_by("numpy")


def test_import_qloc_is_light():
    assert loaded_by("qloc") & HEAVY == set()


def test_command_line_starts_light():
    assert loaded_by("qloc.cli") & HEAVY == set()


def test_face_is_torch_free():
    names = face()
    assert {"qloc.plan", "qloc.workers.runner", "qloc.simulation.planted"} <= set(names)
    assert loaded_by(*names) & (TORCH | {"zarr", "h5py", "jinja2", "matplotlib"}) == set()


def test_embedded_models_and_prompts_are_found_without_torch():
    """What says which facts can be asked is quick: it needs a tokenizer, not torch."""
    assert "torch" not in loaded_by("qloc.extract.embedded", *modules_of("extract/prompts"))


def test_shipped_extraction_is_light():
    assert loaded_by("qloc.shipped") & HEAVY == set()


@pytest.mark.parametrize("room", ["store", "analysis", "reports"])
def test_room_is_torch_free(room):
    assert loaded_by(*modules_of(room)) & TORCH == set()


def test_the_package_lists_its_public_names_only():
    program = "import qloc; print([name for name in dir(qloc) if not name.startswith('__')])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert eval(done.stdout) == sorted(name for name in qloc.__all__ if name != "__version__")
    assert {"open", "load", "compare", "show", "cite", "verify"} <= set(qloc.__all__)
