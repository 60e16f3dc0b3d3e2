"""Progress: bars, plain lines, logs."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.progress import Progress, duration, size


class Terminal(io.StringIO):
    """What takes itself for a screen."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 12.0, 13.0, 20.0])
    monkeypatch.setattr("qloc.progress.time.monotonic", lambda: next(clock))
    said = io.StringIO()
    with Progress(stream=said) as progress, progress.stage("extract", 1000, done=200) as advance:
        for more in (100, 200, 100, 400):
            advance(more)
    assert said.getvalue().splitlines() == [
        "extract: 500 of 1,000 queries, 25 a second, 20 s left",  # 10 s after the start; not at 4 s
        "extract: 1,000 of 1,000 queries, 40 a second",
    ]


def test_a_bar_on_a_terminal_counts_what_was_done() -> None:
    screen = Terminal()
    with Progress(stream=screen) as progress, progress.stage("extract", 10, done=4) as advance:
        advance(6)
    assert re.search(r"extract: 100%.*10/10", screen.getvalue())
    assert "4/10" in screen.getvalue()


def test_the_log_tells_what_quiet_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"

    def work() -> None:
        with Progress(quiet=True, log=log) as progress:
            progress.say("Loading …")
            with progress.stage("extract", 3, done=1) as advance:
                advance(1)
                raise InputError("no more")

    with pytest.raises(InputError, match=r"^no more$"):
        work()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", event.pop("time")) for event in events)
    assert events == [
        {"event": "message", "text": "Loading …"},
        {"event": "start", "stage": "extract", "total": 3, "done": 1, "unit": "queries"},
        {"event": "progress", "stage": "extract", "total": 3, "done": 2},
        {"event": "failed", "error": "InputError", "message": "no more"},
    ]
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Progress(log=tmp_path / "none" / "log")
    assert str(caught.value) == (
        f"log is '{tmp_path / 'none' / 'log'}'; expected a file that can be written (No such file or "
        "directory). At --log. Give another path."
    )


def test_a_log_that_gets_full_is_told_once_and_the_command_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress(quiet=True, log=Path("/dev/full")) as progress:
        progress.say("one")
        progress.say("two")
    assert capsys.readouterr().err == (
        "Warning: log is 'No space left on device'; expected a file that takes another line. At /dev/full. "
        "The command goes on without it; make room before the next one.\n"
    )


def test_what_is_said_does_not_act_on_the_terminal() -> None:
    stream = io.StringIO()
    Progress(stream=stream).say("Loading a\x1b[2J\u202eb …")
    assert stream.getvalue() == "Loading a\\x1b[2J\\u202eb …\n"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "1 s"), (60, "1 min"), (3599.6, "1 h"), (3661, "1 h 1 min"), (86400, "1 d")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("n_bytes", "said"), [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1e6, "1 MB"), (3e15, "3e+03 TB")]
)
def test_sizes(n_bytes: float, said: str) -> None:
    assert size(n_bytes) == said
