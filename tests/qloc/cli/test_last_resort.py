"""Errors that nobody foresaw end a command in the usual form, and are never told as a loss."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest
from commands import refused, run

from qloc.cli.last_resort import unforeseen


def _fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("qloc.workflows.cite.cite", fail)


def test_a_bug_is_told_as_one_with_what_to_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _fail(monkeypatch, KeyError("x\x1b[2J"))
    said = refused("cite", "s.zarr", code=1)
    (report,) = tmp_path.glob("qloc-bug-*.txt")
    assert said.startswith(
        "Error: bug of qloc is \"KeyError: 'x\\\\x1b[2J'\"; expected none. At test_last_resort.py, "
    )
    assert said.endswith(f"with the file {report}; stores are as they were, what was recorded is kept.")
    assert "Traceback" not in said
    assert report.read_text().splitlines()[-1] == r"KeyError: 'x\x1b[2J'"


def test_without_room_for_a_file_the_report_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    _fail(monkeypatch, KeyError("x"))
    assert "with this:\nqloc " in refused("cite", "s.zarr", code=1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            "file system is 'No space left on device'; expected one that reads and writes. At /x/y. Make room, mend "
            "the file system or its permissions, and run it again: what was recorded is kept.",
        ),
        (
            MemoryError(),
            "memory is 'used up'; expected enough for this command. At qloc cite s.zarr. Use a machine with more "
            "memory, or run it on less at a time: what was recorded is kept.",
        ),
    ],
)
def test_what_the_machine_refused_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["qloc", "cite", "s.zarr"])
    assert unforeseen(error) == said
    _fail(monkeypatch, error)
    assert refused("cite", "s.zarr", code=1) == f"Error: {said}"


def test_usage_errors_and_a_reader_that_has_enough_are_left_to_the_parser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("cite", "--none").exit_code == 2
    _fail(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = run("cite", "s.zarr")
    assert (result.exit_code, result.output) == (1, "")
