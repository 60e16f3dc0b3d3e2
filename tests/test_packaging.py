"""What is built is what is in the tree: a package that `packages` forgets is left out in silence."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extract", "store", "analysis", "reports")
FOLDERS = ("src", *ROOMS, "tests", "docs", "examples", "benchmarks")
FILES = (
    "CHANGELOG.md",
    "CITATION.cff",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "constraints.txt",
    "pyproject.toml",
)
LITTER = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.egg-info", ".*", "*.tmp")


def real_files(folder: Path) -> set[str]:
    """Return the files under `folder`, not through links, as paths relative to it."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and not any(p.is_symlink() for p in (path, *path.parents) if p.is_relative_to(folder))
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of what is in version control, links as links: building leaves litter."""
    copy = tmp_path_factory.mktemp("tree") / "qloc"
    for name in FOLDERS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=LITTER)
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def in_tree(tree):
    """Return the tree's files before anything is built."""
    return real_files(tree)


@pytest.fixture(scope="module")
def built(tree, in_tree, tmp_path_factory):
    """Return the folder with the sdist, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def installed_as(path: str) -> str | None:
    """Return where a file of the tree lies in the wheel, or None if it is not of the package."""
    if path.startswith("src/qloc/"):
        return path.removeprefix("src/")
    if path.startswith("docs/"):
        return f"qloc/{path}" if path.endswith(".md") else None
    return f"qloc/{path}" if path.partition("/")[0] in ROOMS else None


def test_wheel_is_the_tree(in_tree, wheel):
    expected = {where for path in in_tree if (where := installed_as(path))}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert expected - found == set(), (
        "in the tree and not in the wheel: list the package or its data in pyproject.toml"
    )
    assert found - expected == set(), "in the wheel and not in the tree"


def test_shipped_extraction_is_in_the_wheel_and_small(wheel):
    shipped = [info for info in wheel.infolist() if info.filename.startswith("qloc/shipped/")]
    assert len([info for info in shipped if info.filename.endswith(".zarr.zip")]) == 2
    assert sum(info.compress_size for info in shipped) <= 2_000_000


def test_sdist_is_the_tree(in_tree, built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if not m.isdir()}
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert in_tree - names == set(), "in the tree and not in the sdist: see MANIFEST.in"
    assert names - in_tree - made == set(), "in the sdist and not in the tree"


def test_command(wheel):
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt"))
    assert wheel.read(name).decode().split("\n") == ["[console_scripts]", "qloc = qloc.cli:main", ""]


def test_metadata(wheel):
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == "qloc"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    base = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert base
    assert not [r for r in base if r.startswith(("torch", "transformers", "tokenizers", "safetensors"))]
    assert {"extract", "cluster", "remote", "dev"} <= set(metadata.get_all("Provides-Extra", []))


def test_every_requirement_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    names = {normal(r) for r in wanted} - {"qloc"}
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert names - pinned == set()


def normal(requirement: str) -> str:
    """Return the project that a requirement names, as PEP 503 spells it."""
    name = requirement.replace("[", " ").replace(">", " ").replace("=", " ").split()[0]
    return name.lower().replace("_", "-").replace(".", "-")
