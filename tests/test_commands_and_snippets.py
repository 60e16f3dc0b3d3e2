"""Every command that pages and help show is one that qloc reads, and README's Python runs as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

import qloc
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
            return "" if words[0] in ("--version", "--help", "-h") else f"no option {words[0]}"
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


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the shipped store, whose relations have other names."""
    from qloc.shipped import place

    place("causal", tmp_path / "gpt2.zarr")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace('"P36"', '"capital"'), names)
    assert names["study"].fingerprint
    assert isinstance(names["sets"], qloc.NeuronSets)
