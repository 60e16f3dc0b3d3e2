"""A power loss, simulated: what a process did to a folder is done again, but for what it had not flushed.

While a process runs, every step that touches names (create, rename, unlink, mkdir, rmdir) is logged in front
of it by an audit hook, every fsync behind it with the bytes that the file had. Afterwards the folder is made
anew from its state before and from the log:

- a step counts where the folder whose names it changed was flushed later; others count at random, either up
  to a random one of them, as a journal keeps them, or each for itself, which is all that POSIX promises;
- each step is whole or not at all, renames too;
- a file has the bytes of its last flush; if it was changed after it, or never flushed, it has these, or what
  it had in the end, or that cut short, or zeros, at random.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_EVENTS: Final = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
_CREATES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def log_steps(root: Path, aside: Path) -> Callable[[int], None]:
    """Log, from here on, what this process does under a folder; for a process that is killed later.

    Parameters
    ----------
    root : Path
        The folder.
    aside : Path
        Another folder, on the same file system, for the log and for bytes.

    Returns
    -------
    callable
        What is to stand in the place of ``os.fsync``.
    """
    top, number = str(root.resolve()), itertools.count()
    log = os.open(aside / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    here = threading.local()  # steps of this log itself are not logged

    def say(**step: Any) -> None:
        os.write(log, json.dumps(step).encode() + b"\n")

    def place(path: Any, folder: int = -1) -> str | None:
        """A path under the root, relative to it; None for others."""
        if isinstance(path, int):
            full = os.readlink(f"/proc/self/fd/{path}")
        else:
            base = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else os.getcwd()
            full = os.path.normpath(os.path.join(base, os.fsdecode(path)))
        full = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))
        return os.path.relpath(full, top) if full.startswith(top + "/") else None

    def kept(path: str) -> str:
        """Keep the bytes of a file that is about to lose its name."""
        name = f"gone-{next(number)}"
        os.link(os.path.join(top, path), aside / name)
        return name

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if getattr(here, "quiet", False) or event not in (
            "open",
            "os.rename",
            "os.remove",
            "os.mkdir",
            "os.rmdir",
        ):
            return
        here.quiet = True
        try:
            step(event, given)
        finally:
            here.quiet = False

    def step(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = given
            if isinstance(path, int) or not flags & _CREATES or (name := place(path)) is None:
                return
            if flags & os.O_CREAT and not os.path.lexists(os.path.join(top, name)):
                say(step="create", name=name)
            elif flags & os.O_TRUNC or flags & (os.O_WRONLY | os.O_RDWR):
                say(step="changed", name=name)
        elif event == "os.rename":
            source, target = place(given[0], given[2]), place(given[1], given[3])
            if source is not None and target is not None:
                there = os.path.join(top, target)
                if os.path.lexists(os.path.join(top, source)):
                    lost = kept(target) if os.path.isfile(there) else None
                    say(step="rename", name=source, to=target, lost=lost)
        elif (name := place(given[0], given[-1])) is not None:
            there = os.path.join(top, name)
            if event == "os.remove" and os.path.lexists(there):
                say(step="remove", name=name, lost=kept(name) if os.path.isfile(there) else None)
            elif event == "os.mkdir" and not os.path.lexists(there):
                say(step="mkdir", name=name)
            elif event == "os.rmdir" and os.path.isdir(there) and not os.listdir(there):
                say(step="remove", name=name, lost=None)

    def flushed(descriptor: int) -> None:
        here.quiet = True
        try:
            name = place(descriptor)
            full = os.path.join(top, name) if name is not None else top
            if name is None and os.readlink(f"/proc/self/fd/{descriptor}") != top:
                return
            if os.path.isdir(full):
                say(step="sync folder", name=name or ".")
            elif os.path.isfile(full):
                kept_as = f"flushed-{next(number)}"
                shutil.copyfile(full, aside / kept_as)
                say(step="sync", name=name, bytes=kept_as)
        finally:
            here.quiet = False

    sys.addaudithook(hook)
    return flushed


@dataclass(eq=False)
class _Node:
    """A file, or a folder: its names after all steps (``inside``), and those that are left after the loss."""

    inside: dict[str, _Node] | None = None
    left: dict[str, _Node] = field(default_factory=dict)
    flushed: Path | None = None
    last: Path | None = None
    changed: bool = False
    waiting: list[_Step] = field(default_factory=list)

    def names(self) -> dict[str, _Node]:
        """Its names after all steps; a file has none."""
        return self.inside if self.inside is not None else {}


@dataclass(eq=False)
class _Step:
    """A node loses a name, gets one, or both."""

    node: _Node
    gone: tuple[_Node, str] | None
    there: tuple[_Node, str] | None
    durable: bool = False


def lose_power(root: Path, before: Path, aside: Path, rng: random.Random) -> int:
    """Make a folder what it may be after a power loss; return how many steps were lost.

    Parameters
    ----------
    root : Path
        The folder as a killed process left it.
    before : Path
        A copy of it from before that process.
    aside : Path
        What :func:`log_steps` logged.
    rng : random.Random
        Draws what is kept.
    """
    full = _tree(before)
    steps: list[_Step] = []
    for line in (aside / "log").read_text().splitlines():
        _replay(json.loads(line), full, steps, aside)
    _last_bytes(full, root)
    waiting = [step for step in steps if not step.durable]
    if rng.random() < 0.5:
        lost = waiting[rng.randint(0, len(waiting)) :]
    else:
        share = rng.random()
        lost = [step for step in waiting if rng.random() < share]
    gone = set(map(id, lost))
    for step in steps:
        if id(step) not in gone:
            _apply(step)
    made = root.with_name(f"{root.name}.after")
    _write(full, made, rng)
    shutil.rmtree(root)
    made.rename(root)
    return len(lost)


def _tree(path: Path) -> _Node:
    if not path.is_dir():
        return _Node(flushed=path, last=path)
    inside = {inner.name: _tree(inner) for inner in path.iterdir()}
    return _Node(inside=inside, left=dict(inside))


def _at(root: _Node, name: str) -> tuple[_Node, str]:
    *above, last = name.split("/")
    node = root
    for part in above:
        node = node.names()[part]
    return node, last


def _replay(line: dict[str, Any], full: _Node, steps: list[_Step], aside: Path) -> None:
    """Do one step of the log in the tree where all are done."""
    if line["name"] == ".":
        _flush(full)
        return
    try:
        parent, name = _at(full, line["name"])
    except KeyError:  # moved by another thread meanwhile
        return
    node = parent.names().get(name)
    if line["step"] in ("create", "mkdir"):
        node = _Node(inside={} if line["step"] == "mkdir" else None, changed=line["step"] == "create")
        parent.names()[name] = node
        steps.append(_waits(_Step(node, None, (parent, name))))
    elif node is None:
        return
    elif line["step"] == "sync folder":
        _flush(node)
    elif line["step"] == "sync":
        node.flushed, node.changed = aside / line["bytes"], False
    elif line["step"] == "changed":
        node.changed = True
    elif line["step"] == "rename":
        other, to = _at(full, line["to"])
        if line["lost"] and (lost := other.names().get(to)):
            lost.last = aside / line["lost"]
        del parent.names()[name]
        other.names()[to] = node
        steps.append(_waits(_Step(node, (parent, name), (other, to))))
    else:
        node.last = aside / line["lost"] if line["lost"] else node.last
        del parent.names()[name]
        steps.append(_waits(_Step(node, (parent, name), None)))


def _waits(step: _Step) -> _Step:
    for end in (step.gone, step.there):
        if end:
            end[0].waiting.append(step)
    return step


def _flush(folder: _Node) -> None:
    for step in folder.waiting:
        step.durable = True
    folder.waiting.clear()


def _last_bytes(node: _Node, path: Path) -> None:
    if node.inside is None:
        node.last = path
    for name, inner in node.names().items():
        _last_bytes(inner, path / name)


def _apply(step: _Step) -> None:
    """Do a step that was kept."""
    if step.gone and step.gone[0].left.get(step.gone[1]) is step.node:
        del step.gone[0].left[step.gone[1]]
    if step.there:
        step.there[0].left[step.there[1]] = step.node


def _write(node: _Node, path: Path, rng: random.Random) -> None:
    if node.inside is not None:
        path.mkdir()
        for name, inner in node.left.items():
            _write(inner, path / name, rng)
        return
    flushed = node.flushed.read_bytes() if node.flushed else b""
    if not node.changed:
        path.write_bytes(flushed)
        return
    last = node.last.read_bytes() if node.last and node.last.is_file() else b""
    path.write_bytes(rng.choice([flushed, last, last[: rng.randint(0, len(last))], bytes(len(last))]))
