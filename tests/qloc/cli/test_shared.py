"""What all commands share: how errors end them, and command lines that a shell takes as they stand."""

import shlex
from pathlib import Path

import pytest
from commands import refused

from qloc import cli
from qloc.cli.shared import conclude, interrupted, quoted, say, told
from qloc.errors import InputError, ModelError


def test_one_problem_is_a_line_and_several_are_a_list():
    assert told(InputError("one thing")) == "Error: one thing"
    assert told(InputError(["one", "two"])) == "Errors:\n  - one\n  - two"
    assert told(ModelError("NaN")) == "Error: NaN"


@pytest.mark.parametrize(("command", "kept"), [("extract", "was extracted"), ("demo", "was extracted")])
def test_after_an_interruption_the_same_command_goes_on(command, kept, monkeypatch):
    monkeypatch.setattr("sys.argv", ["qloc", command, "--out", "my store.zarr"])
    assert interrupted(command) == (
        f"\nInterrupted. What {kept} is kept; to go on, run again:\n  qloc {command} --out 'my store.zarr'"
    )


def test_other_commands_leave_nothing_half_written(monkeypatch):
    assert interrupted("analyze") == interrupted(None) == "\nInterrupted. Nothing half-written is left."
    monkeypatch.setattr("sys.argv", ["qloc", "extract", "--out", "s.zarr", "--dry-run"])
    assert interrupted("extract") == "\nInterrupted. Nothing half-written is left."


def test_a_quoted_command_is_split_into_its_words_again():
    words = ("qloc", "show", "my store.zarr", "Côte d'Ivoire", 3)
    assert shlex.split(quoted(*words)) == [str(word) for word in words]


def test_what_to_run_next_is_said_unless_quiet(capsys):
    conclude("Store: s.zarr", "qloc analyze s.zarr")
    assert capsys.readouterr().out == "Store: s.zarr\nNext:\n  qloc analyze s.zarr\n"
    conclude("Store: s.zarr", quiet=True)
    assert capsys.readouterr().out == ""


def test_texts_of_a_store_do_not_act_on_the_terminal(capsys):
    say("France\x1b]0;title\x07 \u202e")
    assert capsys.readouterr().out == "France\\x1b]0;title\\x07 \\u202e\n"
    own = Path(cli.__file__).parent
    others = [path for path in own.rglob("*.py") if path.name != "shared.py"]
    assert len(others) > 10
    assert [path for path in others if "typer.echo" in path.read_text(encoding="utf-8")] == []


def test_home_is_home_also_where_the_shell_leaves_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    said = refused("analyze", "~/none.zarr", "--out=~/r", "--quiet")
    assert f"At {tmp_path}/none.zarr." in said
    assert "~" not in said


def test_colours_are_for_terminals_and_not_where_no_color_is_set(monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    styled: list[str] = []
    monkeypatch.setattr("typer.echo", lambda text, **_: styled.append(text))
    say("✓ Holds", colour="green")
    monkeypatch.setenv("NO_COLOR", "1")
    say("✓ Holds", colour="green")
    assert styled == ["\x1b[32m✓ Holds\x1b[0m", "✓ Holds"]
