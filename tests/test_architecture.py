"""Four rooms and a face, in one direction: the contracts of pyproject.toml, and the sizes of style.md."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extract", "store", "analysis", "reports")
TOP = {*ROOMS, ".ci", "benchmarks", "docs", "examples", "src", "tests"}
CONTRACTS = [
    c["name"]
    for c in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
]

# One import against each contract, in the order of pyproject.toml.
VIOLATIONS = [
    ("store/write.py", "import qloc.extract.run"),
    ("facts.py", "def read():\n    from qloc.store import write"),
    ("reports/build.py", "from qloc.analysis import consistency"),
    ("analysis/results.py", "import qloc.reports.build"),
    ("store/read.py", "from qloc import pipeline"),
    ("analysis/consistency.py", "import torch.nn"),
    ("extract/run.py", "import zarr"),
    ("analysis/overlap.py", "from matplotlib import pyplot"),
]

# Nothing here breaks a contract.
PACKAGE = {
    "__init__.py": "def __getattr__(name):\n    from qloc import pipeline",
    "facts.py": "",
    "extracting.py": "import qloc.extract.run, qloc.store.write",
    "phases.py": "import qloc.extract.run, qloc.analysis.study, qloc.store.write",
    "pipeline.py": "import qloc.store.read, qloc.analysis.results, qloc.reports.build",
    "repairing.py": "import qloc.extracting, qloc.extract.run, qloc.store.repair",
    "sharing.py": "import qloc.pipeline, qloc.store.read",
    "simulate.py": "import qloc.store.write",
    "demo.py": "import qloc.pipeline",
    "cli/__init__.py": "import qloc\nimport qloc.demo\nimport qloc.store.read",
    "cli/report.py": "import qloc.reports.build",
    "extract/__init__.py": "",
    "extract/run.py": "import qloc.facts\nimport torch, transformers, safetensors.torch, tokenizers",
    "store/__init__.py": "",
    "store/read.py": "import qloc.store.write",
    "store/write.py": "import qloc.facts\nimport zarr, h5py",
    "analysis/__init__.py": "import qloc.analysis.consistency",
    "analysis/results.py": "import qloc.facts",
    "analysis/consistency.py": "import qloc.analysis.results",
    "analysis/overlap.py": "",
    "reports/__init__.py": "",
    "reports/build.py": "from qloc.analysis.results import StudyResult\nimport jinja2, matplotlib.pyplot",
}


def lint_imports(folder: Path) -> tuple[int, str]:
    """Run import-linter in `folder`, on the qloc that lies there; return its exit status and what it says."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": "", "COLUMNS": "200"},
    )
    return done.returncode, done.stdout + done.stderr


def write_package(folder: Path, package: dict[str, str]) -> None:
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in package.items():
        path = folder / "qloc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def modules() -> list[Path]:
    real = (ROOT / folder for folder in ("src/qloc", *ROOMS))
    return sorted(path for folder in real for path in folder.rglob("*.py"))


def test_contracts_are_kept():
    status, said = lint_imports(ROOT)
    assert status == 0, said


def test_contracts_let_the_allowed_pass(tmp_path):
    write_package(tmp_path, PACKAGE)
    status, said = lint_imports(tmp_path)
    assert status == 0, said


@pytest.mark.parametrize(("contract", "violation"), [*zip(CONTRACTS, VIOLATIONS, strict=True)])
def test_each_contract_can_fail(tmp_path, contract, violation):
    name, text = violation
    write_package(tmp_path, PACKAGE | {name: PACKAGE.get(name, "") + "\n" + text})
    status, said = lint_imports(tmp_path)
    assert status == 1, said
    assert re.findall(r"^(.+) BROKEN\b", said, re.MULTILINE) == [contract], said


def test_rooms_are_linked_into_the_face():
    """Type checkers and editors see one tree; builds read only the rooms themselves."""
    for room in ROOMS:
        link = ROOT / "src" / "qloc" / room
        if not link.is_symlink():
            pytest.skip("an unpacked sdist has no links")
        assert link.readlink() == Path("../..") / room


def test_top_level_is_fixed():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    folders = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders - TOP == set()


def test_source_is_found():
    assert len(modules()) > 10


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_short_and_says_what_it_is(path):
    text = path.read_text()
    assert text.count("\n") <= 300, (
        f"{path} has {text.count(chr(10))} lines; expected at most 300. Split it by concept."
    )
    assert ast.get_docstring(ast.parse(text)), (
        f"{path} has no docstring; expected one. Say in a line what it is."
    )
