"""Four rooms and a face, and rooms within rooms: the contracts of pyproject.toml, and the sizes of style.md."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extract", "store", "analysis", "reports")
TOP = {*ROOMS, ".ci", ".github", "benchmarks", "docs", "examples", "src", "tests"}
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# Names and aliases alone: there is nothing that a test of their own could find wrong.
ONLY_NAMES = ("arrays.py", "names.py", "vocabulary.py", "extract_options.py")

# One import against each contract, in the order of pyproject.toml.
VIOLATIONS = [
    ("store/writing/writer.py", "import qloc.extract.signals.extraction"),
    ("analysis/localization/method_agreement.py", "def read():\n    from qloc.store.writing import writer"),
    ("reports/build.py", "from qloc.analysis.localization import consistency"),
    ("analysis/results.py", "import qloc.reports.build"),
    ("store/reading/open_store.py", "from qloc.workflows import analyze"),
    ("analysis/localization/consistency.py", "import torch.nn"),
    ("extract/signals/extraction.py", "import zarr"),
    ("analysis/localization/method_agreement.py", "from matplotlib import pyplot"),
    ("extract/models/architectures.py", "def late():\n    import qloc.extract.signals.extraction"),
    ("extract/models/architectures.py", "import qloc.extract.embedded.training.train"),
    ("store/schema/layout.py", "from qloc.store.writing import writer"),
    ("analysis/inference/draws.py", "if TYPE_CHECKING:\n    from qloc.analysis.inputs import study"),
    ("reports/figures/svg.py", "import qloc.reports.build"),
    ("facts.py", "import qloc.workers.runner"),
]

# Nothing here breaks a contract. Beside these modules stands an empty one for each layer that a contract names.
PACKAGE = {
    "__init__.py": "def __getattr__(name):\n    from qloc.workflows import analyze",
    "__main__.py": "import qloc.cli",
    "workflows/__init__.py": "",
    "workflows/extract.py": "import qloc.extract.signals.extraction, qloc.store.writing.writer",
    "workflows/analyze.py": "import qloc.store.reading.open_store, qloc.analysis.results, qloc.reports.build",
    "workflows/demo.py": "import qloc.workflows.analyze\nimport qloc.shipped",
    "workers/__init__.py": "",
    "workers/runner.py": "import qloc.facts",
    "simulation/__init__.py": "",
    "simulation/planted.py": "import qloc.facts",
    "simulation/simulate.py": "import qloc.store.writing.writer\nimport qloc.workflows.analyze",
    "shipped/__init__.py": "import qloc.store.writing.writer",
    "shipped/__main__.py": "import qloc.workflows.extract\nimport qloc.shipped",
    "cli/__init__.py": "import qloc\nimport qloc.workflows.demo\nimport qloc.store.reading.open_store",
    "cli/report.py": "import qloc.reports.build",
    "extract/__init__.py": "",
    "extract/embedded/__init__.py": "",
    "extract/embedded/training/__init__.py": "",
    "extract/embedded/training/train.py": "import qloc.extract.signals.extraction",
    "extract/models/__init__.py": "",
    "extract/models/architectures.py": "import torch, transformers",
    "extract/signals/__init__.py": "",
    "extract/signals/extraction.py": "import qloc.facts, qloc.extract.models.architectures, safetensors.torch",
    "store/__init__.py": "",
    "store/schema/__init__.py": "",
    "store/schema/layout.py": "import qloc.facts",
    "store/reading/__init__.py": "",
    "store/reading/open_store.py": "import qloc.store.writing.writer",
    "store/writing/__init__.py": "",
    "store/writing/writer.py": "import qloc.store.schema.layout\nimport zarr, h5py",
    "analysis/__init__.py": "",
    "analysis/results.py": "import qloc.facts",
    "analysis/inference/__init__.py": "",
    "analysis/inference/draws.py": "from typing import TYPE_CHECKING",
    "analysis/inputs/__init__.py": "",
    "analysis/inputs/study.py": "import qloc.analysis.inference.draws",
    "analysis/localization/__init__.py": "",
    "analysis/localization/consistency.py": "import qloc.analysis.results, qloc.analysis.inputs.study",
    "analysis/localization/method_agreement.py": "import qloc.analysis.localization.consistency",
    "reports/__init__.py": "",
    "reports/build.py": "import qloc.reports.figures.svg\nfrom qloc.analysis.results import StudyResult",
    "reports/figures/__init__.py": "",
    "reports/figures/svg.py": "import jinja2, matplotlib.pyplot",
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


def layers() -> Iterator[str]:
    """Yield the path, within qloc and without its ending, of every module or package that is a layer."""
    for contract in CONTRACTS:
        for container in contract.get("containers", ()):
            folder = container.replace(".", "/").removeprefix("qloc").lstrip("/")
            for layer in contract["layers"]:
                yield from (f"{folder}/{name}".lstrip("/") for name in re.split(r"\s*[|:]\s*", layer))


def write_package(folder: Path, package: dict[str, str]) -> None:
    shutil.copy(ROOT / "pyproject.toml", folder)
    there = {f"{layer}.py": "" for layer in layers() if f"{layer}/__init__.py" not in package} | package
    for name, text in there.items():
        path = folder / "qloc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def modules() -> list[Path]:
    real = (ROOT / folder for folder in ("src/qloc", *ROOMS))
    return sorted(path for folder in real for path in folder.rglob("*.py"))


def dotted(path: Path) -> str:
    """Return the name that a module is imported by."""
    inside = path.relative_to(ROOT).with_suffix("").parts
    parts = inside[1:] if inside[0] == "src" else ("qloc", *inside)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, names: set[str]) -> set[str]:
    """Return the modules of qloc that a file imports anywhere: at its top, in functions, for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & names or {node.module}
    return found


@cache
def import_graph() -> dict[str, set[str]]:
    names = {dotted(path) for path in modules()}
    return {dotted(path): imported(path, names) for path in modules()}


def test_contracts_are_kept():
    status, said = lint_imports(ROOT)
    assert status == 0, said


def test_contracts_let_the_allowed_pass(tmp_path):
    write_package(tmp_path, PACKAGE)
    status, said = lint_imports(tmp_path)
    assert status == 0, said


@pytest.mark.parametrize(
    ("contract", "violation"),
    [*zip([contract["name"] for contract in CONTRACTS], VIOLATIONS, strict=True)],
)
def test_each_contract_can_fail(tmp_path, contract, violation):
    name, text = violation
    write_package(tmp_path, PACKAGE | {name: PACKAGE.get(name, "") + "\n" + text})
    status, said = lint_imports(tmp_path)
    assert status == 1, said
    assert re.findall(r"^(.+) BROKEN\b", said, re.MULTILINE) == [contract], said


def test_no_circle_of_files():
    """Imports in functions and for type checkers count; only the face's lazy public names may point up."""
    graph = {name: found for name, found in import_graph().items() if name != "qloc"}
    assert len(graph) > 300
    assert sum(map(len, graph.values())) > 1000
    try:
        [*TopologicalSorter(graph).static_order()]
    except CycleError as error:
        pytest.fail(f"these modules import each other in a circle: {' → '.join(error.args[1])}")


def test_the_face_is_imported_by_its_parts_only_by_name():
    """`import qloc` inside the package would hide an import of everything behind a lazy name."""
    assert [name for name, found in import_graph().items() if "qloc" in found] == []


@pytest.mark.parametrize("room", ["src/qloc", *ROOMS])
def test_no_folder_holds_more_than_twenty_modules(room):
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    assert {str(folder): n for folder in folders if (n := len([*folder.glob("*.py")]) - 1) > 20} == {}


def mirror(path: Path) -> Path:
    """Return where a module's test is looked for."""
    inside = path.relative_to(ROOT)
    parts = inside.parts[1:] if inside.parts[0] == "src" else inside.parts
    return ROOT.joinpath("tests", *parts[:-1], f"test_{parts[-1]}")


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if path.stem not in ("__init__", "__main__") and path.name not in ONLY_NAMES],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_module_has_its_test_where_it_is_looked_for(path):
    assert mirror(path).exists(), (
        f"{path.relative_to(ROOT)} has no {mirror(path).relative_to(ROOT)}; expected one. "
        "Test what the module promises there."
    )


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


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_short_and_says_what_it_is(path):
    text = path.read_text()
    assert text.count("\n") <= 500, (
        f"{path} has {text.count(chr(10))} lines; expected at most 500. Split it by concept."
    )
    assert ast.get_docstring(ast.parse(text)), (
        f"{path} has no docstring; expected one. Say in a line what it is."
    )
