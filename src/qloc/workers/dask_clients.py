"""Clients of dask.distributed schedulers: start workers on this machine, or join an existing cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, MissingDependencyError, WorkerError, message

_ALLOWED_FAILURES: Final = 3
"""Workers that may die while they run one unit. When one more dies, the unit is to blame."""

_ANSWER: Final = "30s"
"""How long a scheduler may take to answer."""

_CONFIG: Final = {
    "distributed.deploy.lost-worker-timeout": "365d",  # a worker is started again, however long that takes
    "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical"},  # we say what is wrong
    "distributed.scheduler.worker-ttl": None,  # a nanny sees its worker die; a long product is no death
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.worker.profile.enabled": False,  # a hundred samples a second, for nobody
}


_PRELOADED: Final = ("distributed", "qloc.extract.signals.extraction", "qloc.store.writing.writer")
"""What every worker needs: imported once, by the process that workers are forked from. It has one thread and
touches no GPU, so that a worker is as new as one that is spawned, seconds earlier."""


def require_distributed() -> None:
    """Check that ``dask.distributed`` is installed.

    Raises
    ------
    MissingDependencyError
        It is not; the message names the extra that brings it.
    """
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
    """Configure dask as our workers need it, for the length of a ``with`` block.

    Yields
    ------
    None
        Nothing; the earlier settings come back when the block ends.
    """
    import dask
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(logging.CRITICAL), dask.config.set(_CONFIG):
        yield


@contextmanager
def client_of(**arguments: Any) -> Iterator[Any]:
    """Connect to a scheduler, for the length of a ``with`` block.

    Parameters
    ----------
    **arguments : Any
        Arguments of ``distributed.Client``, such as ``address``.

    Yields
    ------
    distributed.Client
        The client; it is closed when the block ends.
    """
    from distributed import Client

    client = Client(set_as_default=False, **arguments)
    try:
        yield client
    finally:
        _close(partial(client.close, timeout=1))


def _close(close: Callable[[], object]) -> None:
    """Close a client or a cluster. A scheduler that is gone, or is slow to answer, is nothing to tell.

    What made the block end may be an error, which is the one to tell.
    """
    with suppress(OSError):  # TimeoutError and CommClosedError too
        close()


@contextmanager
def joined(cluster: str) -> Iterator[Any]:
    """Connect to a scheduler that already runs, for the length of a ``with`` block.

    Parameters
    ----------
    cluster : str
        The scheduler's address, or the path of the file that it wrote (``--scheduler-file``).

    Yields
    ------
    distributed.Client
        The client; it is closed when the block ends, and the scheduler goes on.

    Raises
    ------
    InputError
        No scheduler answers there.
    """
    by_file = Path(cluster).is_file()
    where = {"scheduler_file": cluster} if by_file else {"address": cluster}
    with ExitStack() as entered:
        try:
            client = entered.enter_context(client_of(timeout=_ANSWER, **where))
        except (OSError, ValueError) as error:
            rule = f"the address or the file of a dask scheduler that runs ({' '.join(str(error).split())})"
            action = "Start one, such as `dask scheduler`, and give the address that it prints"
            raise InputError(message("cluster", cluster, rule, "--cluster", action)) from None
        yield client


@contextmanager
def started(n: int, gpus: Sequence[str]) -> Iterator[Any]:
    """Start worker processes on this machine, for the length of a ``with`` block.

    Each worker has a nanny that starts it again when it dies. When the block ends by an exception, the
    workers are killed at once, whatever they are computing.

    Parameters
    ----------
    n : int
        Number of workers.
    gpus : sequence of str
        Values of ``CUDA_VISIBLE_DEVICES``, given to one worker after the other in turn; empty: it is not set.

    Yields
    ------
    distributed.SpecCluster
        The cluster; it is closed when the block ends.

    Raises
    ------
    WorkerError
        The workers do not start.
    """
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.utils import get_mp_context

    get_mp_context().set_forkserver_preload([*_PRELOADED])
    local = {"host": "127.0.0.1", "dashboard": False}
    worker = {**local, "nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    ours = dict(os.environ)  # workers are forked from a process that may be older than a variable
    pinned = [
        ours | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}) for number in range(n)
    ]
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
        _close(cluster.close)


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Block SIGINT in threads begun inside and in the processes that these begin: we end them ourselves."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _kill(cluster: Any) -> None:
    """End the workers at once, whatever they are computing. What was recorded is kept."""
    for nanny in list(cluster.workers.values()):
        nanny.close_gracefully()  # or it would start its worker again
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
