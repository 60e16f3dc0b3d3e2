"""A GGUF file wherever a command takes a model: the same store by workers, its quantization told, nothing else said."""

from __future__ import annotations

import json
from pathlib import Path

import forked
import pytest
from commands import done, process, refused, write_facts

from qloc.store.integrity.check import root_attributes

pytest.importorskip("gguf", reason="qloc[gguf] is not installed")
pytest.importorskip("torch", reason="qloc[extract] is not installed")
from tiny_gguf import write_gguf

TOLD = "Q4_1 (Q4_1, F32), dequantized to float32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a model, facts and the store made of them, by a process: what it says is looked at."""
    here = tmp_path_factory.mktemp("gguf")
    write_gguf(here / "tiny.gguf", "Q4_1")
    write_facts(here / "facts.jsonl")
    command = process(*extraction(here, "s.zarr", "--quiet"))
    ran = forked.run(command, torch=True, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    return here


def extraction(folder: Path, store: str, *more: object) -> list[object]:
    given = ["--model", folder / "tiny.gguf", "--facts", folder / "facts.jsonl", "--out", folder / store]
    return [
        "extract",
        *given,
        "--steps",
        2,
        "--phases",
        "signals",
        "--device",
        "cpu",
        "--threads",
        1,
        "--unit-facts",
        2,
        *more,
    ]


def objects(store: Path) -> dict[str, str]:
    found = json.loads((store / "manifest.json").read_text())["objects"]
    assert isinstance(found, dict)
    return found


def test_the_store_says_how_the_weights_were_quantized(folder: Path) -> None:
    attributes = root_attributes(folder / "s.zarr")
    assert attributes["quantization"] == TOLD
    assert attributes["dtype"] == "float32"
    assert f"    quantization: {TOLD}\n" in done("store", "info", folder / "s.zarr", "--all")
    assert f"- quantization: {TOLD}\n" in (folder / "s.zarr" / "README.md").read_text()


def test_a_report_says_it_beside_the_model(folder: Path) -> None:
    plan, results = folder / "plan.yaml", folder / "results"
    plan.write_text(
        "analysis: {n_permutations: 99, n_bootstrap: 99, n_splits: 2, thresholds: [0.2], budgets: [5, 10]}\n"
    )
    done("analyze", folder / "s.zarr", "--plan", plan, "--out", results, "--quiet")
    model = f"{folder / 'tiny.gguf'} (llama, 3 layers of 96 neurons, weights {TOLD})"
    assert json.loads((results / "study.json").read_text())["model"] == model
    done("report", results, "--format", "md", "--out", folder / "report.md")
    assert f"weights {TOLD}" in (folder / "report.md").read_text().replace("\\", "")


def test_the_run_says_which_gguf_read_it(folder: Path) -> None:
    from importlib.metadata import version

    run = json.loads((folder / "s.zarr" / "manifest.json").read_text())["run"]
    assert run["environment"]["gguf"] == version("gguf")


def test_facts_are_checked_with_it(folder: Path) -> None:
    assert "4 facts with 8 queries" in done(
        "facts", "check", folder / "facts.jsonl", "--model", folder / "tiny.gguf", "--device", "cpu"
    )


@pytest.mark.slow
def test_workers_make_the_same_store(folder: Path) -> None:
    done(*extraction(folder, "workers.zarr", "--workers", 2, "--quiet"))
    assert objects(folder / "workers.zarr") == objects(folder / "s.zarr")


def test_another_dtype_is_told(folder: Path) -> None:
    done(*extraction(folder, "half.zarr", "--dtype", "bfloat16", "--quiet"))
    attributes = root_attributes(folder / "half.zarr")
    assert attributes["quantization"] == "Q4_1 (Q4_1, F32), dequantized to bfloat16"
    assert attributes["dtype"] == "bfloat16"


def test_a_damaged_unit_is_extracted_again_from_the_file(folder: Path, tmp_path: Path) -> None:
    """Wherever the file is now: its path is no part of the fingerprint."""
    import shutil

    store, moved = tmp_path / "s.zarr", tmp_path / "moved.gguf"
    shutil.copytree(folder / "s.zarr", store)
    shutil.copy(folder / "tiny.gguf", moved)
    name = next(name for name in sorted(objects(store)) if name.startswith("signals/attribution/c/"))
    (store / name).write_bytes(b"")
    done("store", "repair", store, "--model", moved, "--quiet")
    assert done("store", "verify", store)


def test_without_gguf_the_extra_is_named(folder: Path) -> None:
    code = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "PathFinder.find_spec = staticmethod(lambda name, path=None, target=None:\n"
        "    None if name.partition('.')[0] == 'gguf' else found(name, path, target))\n"
        "from qloc.cli import main; main()\n"
    )
    ran = forked.run(
        process(*extraction(folder, "none.zarr"), code=code),
        torch=True,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "Error: package gguf is 'missing'; expected installed; qloc[gguf] brings it. At --model with a .gguf file. In "
        "the clone, run: pip install -c constraints.txt '.[extract,gguf]'.\n"
    )
    assert not (folder / "none.zarr").exists()


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    write_facts(tmp_path / "facts.jsonl")
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    said = refused(*extraction(tmp_path, "s.zarr"))
    assert said.startswith("Error: GGUF is 'incomplete'; expected a whole file (")
