"""The command line as a whole: help, versions, wrong usage, and what works without torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import zarr
from commands import all_blocked, done, refused, run
from typer.testing import CliRunner

from qloc.cli import app
from qloc.version import __version__

FEW_FIGURES = """
from qloc.reports.figures import svg
draw, drawn = svg.svg, []
def few(figure, width):
    drawn.append(figure.kind)
    return draw(figure, width=width) if drawn.count(figure.kind) == 1 else "<svg></svg>"
svg.svg = few
"""
"""One of each kind: all of them take longer than all commands."""

COMMANDS = [
    "demo",
    "extract",
    "analyze",
    "report",
    "compare",
    "controls",
    "show",
    "reproduce",
    "simulate",
    "power",
    "cite",
    "docs",
]


def test_version() -> None:
    assert done("--version") == f"qloc {__version__}\n"


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["store", "info"], ["store", "verify"], ["plan", "lock"]]
)
def test_help_is_a_page_to_act_on(command: list[str]) -> None:
    page = done(*command, "--help")
    assert page.startswith(f"Usage: {' '.join(['qloc', *command])} ")
    assert "\b" not in page
    assert re.search(r"\n +qloc [a-z]+", page)


def test_help_lists_what_there_is() -> None:
    page = done("--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in page.splitlines()] == [*COMMANDS, "facts", "store", "plan"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("qloc re", ["report", "reproduce"]),
        ("qloc store ver", ["verify"]),
        ("qloc extract --met", ["--methods"]),
        ("qloc nothing", []),
    ],
)
def test_a_shell_completes_commands_and_options(typed: str, expected: list[str]) -> None:
    place = str(len(typed.split()) - 1)
    asked = {"_QLOC_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": place}
    said = CliRunner().invoke(app, [], prog_name="qloc", env=asked)
    assert (said.exit_code, said.stdout.split()) == (0, expected)


def test_the_command_line_is_light() -> None:
    code = "import sys, qloc.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "transformers", "zarr", "xarray", "pandas", "scipy", "numpy", "pydantic", "matplotlib"}
    assert heavy & set(loaded.split()) == set()


@pytest.mark.parametrize("command", [["store", "info"], ["store", "verify"], ["analyze"]], ids=" ".join)
def test_another_programs_zarr_is_refused(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "foreign.zarr"
    zarr.create_group(path).create_array("x", shape=(3,), dtype="f4")
    said = refused(*command, path, *(["--quiet"] if command == ["analyze"] else []))
    assert said == (
        'Error: Zarr hierarchy is "another program\'s"; expected root attributes schema_version, '
        f"fingerprint, layout. At {path}. Give the path of a store that qloc extract wrote."
    )


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run("extrct")
    assert result.exit_code == 2
    assert "No such command 'extrct'. Did you mean 'extract'?" in result.stderr


def test_without_torch_everything_else_works(planted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qloc.analysis.analyze")
    plan, results = tmp_path / "plan.yaml", tmp_path / "results"
    plan.write_text(
        "analysis: {n_permutations: 99, n_bootstrap: 99, n_splits: 2, thresholds: [0.2], budgets: [5, 10]}\n"
    )
    result = all_blocked(
        ["--help"],
        ["simulate", "--facts", 6, "--relations", 2, "--out", tmp_path / "s.zarr"],
        ["store", "info", planted],
        ["store", "verify", planted],
        ["analyze", tmp_path / "s.zarr", "--plan", plan, "--out", results],
        ["report", results, "--out", tmp_path / "report.html"],
        ["cite", planted],
        first=FEW_FIGURES,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "report.html").exists()
