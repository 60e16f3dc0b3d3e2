"""Processes that kill themselves in front of a step that touches the disk, and what they leave."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir")


def not_flushed(descriptor: int) -> None:
    """Stand in the place of fsync, which is slow, and of no use against SIGKILL."""


def started(
    work: Callable[[], object],
    dies: Callable[[int], bool],
    report: int | None = None,
    flush: Callable[[], Callable[[int], None]] = lambda: not_flushed,
) -> int:
    """Work in a forked process, which kills itself in front of the step that ``dies`` says; its id.

    ``flush`` gives, in that process, what stands in the place of fsync.
    """
    child = os.fork()
    if child:
        return child
    try:
        taken = counted(dies, flush())
        work()
        if report is not None:
            os.write(report, str(taken[0]).encode())
        os._exit(0)
    finally:
        os._exit(1)


def counted(dies: Callable[[int], bool], flush: Callable[[int], None]) -> list[int]:
    """Count the steps that touch the disk; SIGKILL in front of the one that ``dies`` says."""
    taken = [0]

    def counting(step: Callable[..., Any]) -> Callable[..., Any]:
        def one(*arguments: Any, **options: Any) -> Any:
            if dies(taken[0]):
                os.kill(os.getpid(), signal.SIGKILL)
            taken[0] += 1
            return step(*arguments, **options)

        return one

    setattr(os, "fsync", flush)  # noqa: B010  (its type says more than is needed here)
    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))
    return taken


def never(step: int) -> bool:
    return False


def at(step: int) -> Callable[[int], bool]:
    return lambda taken: taken == step


def contents(store: Path) -> dict[str, bytes]:
    found = {p.relative_to(store).as_posix(): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    told = json.loads(found["manifest.json"])
    del told["run"], told["sha256"]
    return {**found, "manifest.json": json.dumps(told).encode()}
