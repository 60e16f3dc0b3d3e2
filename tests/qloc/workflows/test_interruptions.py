"""``qloc extract`` killed, locked out, or without room: what it says, and that it then ends as if nothing was."""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path

import forked
import pytest
from typer.testing import CliRunner, Result

from qloc.cli import app

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the facts of two units."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")
    with (tmp_path / "facts.jsonl").open("w") as lines:
        for subject, answer in (("France", "Paris"), ("Kenya", "Nairobi")):
            fact = {"id": subject, "relation": "capital", "subject": subject, "object": answer}
            lines.write(json.dumps({**fact, "queries": ["The capital of [X] is [Y]."]}) + "\n")
    return tmp_path


def extract(folder: Path, store: str = "s.zarr") -> Result:
    flags = ["--model", "embedded:causal", "--facts", folder / "facts.jsonl", "--out", folder / store]
    flags += [
        "--quadrature",
        "midpoint",
        "--steps",
        3,
        "--unit-facts",
        1,
        "--phases",
        "signals",
        "--device",
        "cpu",
        "--threads",
        1,
        "--quiet",
    ]
    return CliRunner().invoke(app, ["extract", *map(str, flags)], prog_name="qloc")


def objects(store: Path) -> object:
    return json.loads((store / "manifest.json").read_bytes())["objects"]


def test_locked_out_and_without_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First no room at all, then none to assemble, then another process's lock; then it ends."""
    from qloc.store.files.lock import Lock
    from qloc.store.writing.writer import Writer

    out = folder / "s.zarr"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def without_room(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            result = extract(folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(
            f"Error: writing is 'File too large'; expected a disk that takes it. At {out}"
        )
        assert result.stderr.endswith("run the same command again: what was recorded is kept.\n")

    without_room(100)
    assert sorted(path.name for path in folder.iterdir()) == ["facts.jsonl"]
    whole = Writer.finalize

    def cannot(self: Writer, run: object = None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
        whole(self, run)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "finalize", cannot)
        without_room(soft)
    assert len(list((out / "ledger").glob("unit-*.json"))) == 2
    held = Lock.take(out / "ledger" / "lock", out)
    assert held is not None
    refused = extract(folder)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"Error: store is 'locked'; expected no other process writing it. At {out}. "
        "Wait for it to end, or stop it.\n"
    )
    held.release()
    assert extract(folder).exit_code == 0
    assert extract(folder, "whole.zarr").exit_code == 0
    assert objects(out) == objects(folder / "whole.zarr")


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_killed_at_random_moments() -> None:
    """The benchmark, short: kills by SIGKILL in two stores, from inside at steps and from outside at times."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "kills.py"),
        "--kills",
        "4",
        "--facts",
        "2",
        "--seed",
        "3",
    ]
    done = forked.run(command, torch=True, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"^4 kills in \d stores, each then equal to the uninterrupted one", done.stdout, re.MULTILINE
    )
    stages = dict(re.findall(r"^  (.+?) +(\d+)$", done.stdout, re.MULTILINE))
    assert sum(int(n) for name, n in stages.items() if name != "ended before") == 4
