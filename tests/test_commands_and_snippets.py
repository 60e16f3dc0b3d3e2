"""Every command that pages and help show is one that qloc reads, and their Python runs as it stands."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
import typer

import qloc
from qloc.analysis.hypothesis_test import EffectSize, TestResult
from qloc.analysis.results import Question, StudyResult, Table
from qloc.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "examples")
    for path in folder.glob("*.md")
    if path.name != "CHANGELOG.md"  # which tells what was
)
GROUP: Any = typer.main.get_command(app)


def commands(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


def shown(text: str) -> Iterator[str]:
    """Yield the commands of a page: lines of its blocks of code, and what stands between backticks."""
    for block in re.findall(r"^```(?:sh|bash|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        yield from (line.strip().removeprefix("$ ") for line in lines if re.match(r"\s*(\$ )?qloc ", line))
    yield from re.findall(r"(?<!`)`(qloc [^`\n]+)`(?!`)", text)


def words_of(line: str) -> list[str]:
    """Return the words of a command without its comment, redirection and what stands for more words."""
    words = shlex.split(re.sub(r"\[([^]]*)\]", " ", line), comments=True)
    for end in (">", "|", "&&", "…", "..."):
        if end in words:
            words = words[: words.index(end)]
    return [word for word in words[1:] if word not in ("…", "...")]


def problem_of(words: list[str]) -> str:
    """Return what is wrong with a command: no such command or option. What it is about need not be there."""
    command: Any = GROUP
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            own = {flag for parameter in GROUP.params for flag in parameter.opts}
            return "" if words[0] in {*own, "--help", "-h"} else f"no option {words[0]}"
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    flags = [word.partition("=")[0] for word in words if re.match(r"--\w", word)]
    return ", ".join(f"no option {flag}" for flag in flags if flag not in {*known, "--help"})


def test_what_is_no_command_is_seen() -> None:
    assert problem_of(["analyse", "x"]) == "no command analyse"
    assert problem_of(["extract", "--modle", "x"]) == "no option --modle"
    assert problem_of(["store", "verify", "x.zarr"]) == ""
    assert list(shown("```sh\nqloc extract \\\n  --out x\n```\nand `qloc demo`")) == [
        "qloc extract    --out x",
        "qloc demo",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_pages_are_commands(page: Path) -> None:
    lines = list(shown(page.read_text(encoding="utf-8")))
    wrong = {line: problem for line in lines if (problem := problem_of(words_of(line)))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "command"),
    list(commands(GROUP)),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_examples_of_help_are_commands(name: tuple[str, ...], command: Any) -> None:
    """Each is parsed as it is typed: every required argument is there, and every value of a known kind."""
    with click.Context(GROUP, info_name="qloc") as context:
        page = command.get_help(click.Context(command, info_name=name[-1], parent=context))
    lines = [line.strip() for line in page.splitlines() if re.match(r"\s+qloc [a-z]", line)]
    assert lines, name
    for line in lines:
        words = words_of(line)
        assert problem_of(words) == "", line
        if tuple(words[: len(name)]) == name:
            command.make_context(name[-1], words[len(name) :])


def python_of(page: str) -> list[str]:
    """Return the blocks of Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def few_numbers() -> StudyResult:
    """Return a result with one test and one table, in place of an analysis of half a minute."""
    shares = pd.DataFrame({"relation": ["a", "b"], "subsets": [0.4, 0.6], "below_0.1": [0.3, 0.5]})
    test = TestResult(
        name="H1a", question="Do they?", estimand="e", unit="fact", n={"facts": 9}, estimate=1.0, interval=None,
        effect=EffectSize(name="rank-biserial", value=0.5), method="", p=0.01, role="exploratory", verdict="holds",
    )  # fmt: skip
    table = Table.from_frame(shares, name="ki_by_relation", title="K_I by relation")
    question = Question(id="q", title="?", answer="", tables=(table,), tests=(test,))
    return StudyResult(
        title="t", model="m", facts="f", questions=(question,), provenance={}, counts={}, plan={}
    )


def test_the_python_of_pages_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the shipped store, whose relations have other names; in the order in which it is read."""
    from qloc.shipped import place

    place("causal", tmp_path / "study.zarr")
    (tmp_path / "gpt2.zarr").symlink_to(tmp_path / "study.zarr")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    (code,) = python_of("README.md")
    exec(code.replace('"P36"', '"capital"'), names)
    assert names["study"].fingerprint
    assert isinstance(names["sets"], qloc.NeuronSets)
    opened, names["study"] = names["study"], None
    *blocks, digests = python_of("docs/store.md")
    for code in blocks:
        exec(code, names)
    assert len(blocks) == 3
    assert len(names["words"]) == 10  # that a neuron promotes
    assert any(names["words"])
    exec(digests, names)
    assert names["effect"].dims == ("operation", "neuron_set", "query")
    assert capsys.readouterr().out == ""  # no object has another digest than the manifest says
    names |= {"study": opened, "result": few_numbers()}
    names["result"].save(tmp_path / "results")
    written, drawn, recipe = python_of("docs/reports.md")
    exec(written, names)
    exec(drawn, names)
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert names["ax"].has_data()
    exec(f"from qloc.reports.figures.table_recipes import RECIPES, Recipe\nadded = {{{recipe}}}", names)
    assert names["added"]["dose_response"].kind == "lines"


def test_a_method_of_ones_own_is_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = python_of("docs/extraction.md")
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    monkeypatch.setattr("qloc.methods._REGISTERED", {**qloc.methods._REGISTERED})
    assert qloc.Plan(methods="ig,mine:positive").methods == ("ig", "mine:positive")
    found = qloc.methods.method("mine:positive")
    assert (found.path, found.complete) == ("zero", False)
    assert qloc.methods.register("positive", found.score).source == found.source


def test_python_of_clusters_is_python() -> None:
    """It needs a cluster, or minutes: it is compiled, and what it takes from qloc is there."""
    jobs, workers = python_of("docs/scale-out.md")
    compile(jobs, "jobs", "exec")
    names: dict[str, Any] = {"__name__": "imported"}
    exec(workers, names)
    assert names["extract_study"] is qloc.extract_study
