"""Schedulers of dask.distributed: workers of this machine, started, or somebody's cluster, joined."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, MissingDependencyError, WorkerError, message

_ALLOWED_FAILURES: Final = 3
"""Workers that may die of one unit; when one more does, it is the unit's fault."""

_ANSWER: Final = "30s"
"""How long a scheduler may take to answer."""

_CONFIG: Final = {
    "distributed.deploy.lost-worker-timeout": "365d",  # a worker is started again, however long that takes
    "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical"},  # we say what is wrong
    "distributed.scheduler.worker-ttl": None,  # a nanny sees its worker die; a long product is no death
    "distributed.worker.multiprocessing-method": "spawn",
}


def require_distributed() -> None:
    """Refuse to go on without the package, naming the extra that brings it."""
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "distributed":
            raise
        rule = "installed; qloc[cluster] brings it"
        action = "In the clone, run: pip install -c constraints.txt '.[extract,cluster]'"
        place = "qloc extract --workers or --cluster"
        raise MissingDependencyError(message("package distributed", "missing", rule, place, action)) from None


@contextmanager
def dask_settings() -> Iterator[None]:
    """Dask as we need it, for the length of a ``with`` block."""
    import dask
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(logging.CRITICAL), dask.config.set(_CONFIG):
        yield


@contextmanager
def client_of(**given: Any) -> Iterator[Any]:
    """A client of a scheduler, closed when the ``with`` block ends."""
    from distributed import Client

    client = Client(set_as_default=False, **given)
    try:
        yield client
    finally:
        client.close(timeout=1)


@contextmanager
def joined(cluster: str) -> Iterator[Any]:
    """A client of somebody's scheduler, by address or by the file that it wrote."""
    by_file = Path(cluster).is_file()
    given = {"scheduler_file": cluster} if by_file else {"address": cluster}
    with ExitStack() as entered:
        try:
            client = entered.enter_context(client_of(timeout=_ANSWER, **given))
        except (OSError, ValueError) as error:
            rule = f"the address or the file of a dask scheduler that runs ({' '.join(str(error).split())})"
            action = "Start one, such as `dask scheduler`, and give the address that it prints"
            raise InputError(message("cluster", cluster, rule, "--cluster", action)) from None
        yield client


@contextmanager
def started(n: int, gpus: Sequence[str]) -> Iterator[Any]:
    """Worker processes on this machine, each with a nanny that starts it again."""
    from distributed import Nanny, Scheduler, SpecCluster

    local = {"host": "127.0.0.1", "dashboard": False}
    worker = {**local, "nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    pinned = [{"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {} for number in range(n)]
    spec = {number: {"cls": Nanny, "options": {**worker, "env": env}} for number, env in enumerate(pinned)}
    apart = {"port": 0, "dashboard_address": "127.0.0.1:0"}  # others have schedulers here too
    scheduler = {"cls": Scheduler, "options": {**local, **apart, "allowed_failures": _ALLOWED_FAILURES}}
    try:
        with _ctrl_c_held_back():
            cluster = SpecCluster(workers=spec, scheduler=scheduler, silence_logs=logging.CRITICAL)
    except (OSError, RuntimeError) as error:
        got, action = " ".join(str(error).split()), "Run without --workers to see whether one process works"
        rule = "processes that start"
        raise WorkerError(message("workers", got, rule, "qloc extract --workers", action)) from error
    try:
        yield cluster
    except BaseException:
        _kill(cluster)
        raise
    finally:
        cluster.close()


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Threads begun inside, and the processes that these begin, never see Ctrl-C: we end them."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _kill(cluster: Any) -> None:
    """End the workers at once, whatever they are computing; what they wrote and we recorded is kept."""
    for nanny in list(cluster.workers.values()):
        nanny.close_gracefully()  # or it would start its worker again
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
