"""Where units are run: in this process, or in worker processes of dask.distributed.

Units are independent, and what one gives is a function of plan and unit alone, so it may be run anywhere, and
again where a worker died. Work travels pickled, is run by one thread a process, and what it returns comes
back in the order of completion; who records it is the caller's affair.
"""

from __future__ import annotations

import math
import pickle
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from qloc.block import Unit
from qloc.errors import WorkerError, message
from qloc.workers.dask_clients import client_of, dask_settings, joined, require_distributed, started

T = TypeVar("T")

_LOOK_EVERY: Final = 5.0
"""Seconds between two looks at whether any worker is left."""

_PATIENCE: Final = 300.0
"""Seconds that our own workers may all be gone; a worker that died is back sooner."""


class Runner(Protocol):
    """What runs work on units."""

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, run once, where units are run."""

    def each(self, work: Callable[[Unit], T], units: Sequence[Unit]) -> Iterator[tuple[Unit, T]]:
        """Every unit with what ``work`` returns for it, as they are done."""


class InProcess:
    """Runs units here, one after the other."""

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns."""
        return work()

    def each(self, work: Callable[[Unit], T], units: Sequence[Unit]) -> Iterator[tuple[Unit, T]]:
        """Every unit with what ``work`` returns for it, in order."""
        for unit in units:
            yield unit, work(unit)


class Workers:
    """Runs units in the workers of a dask scheduler, one at a time in each.

    Work is pickled; what it needs it finds, or makes and keeps, in the worker's process.
    """

    def __init__(self, client: Any, place: str, *, patience: float) -> None:
        self._client, self._place, self._patience = client, place, patience
        self._seen = time.monotonic()

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, run in one of the workers.

        Raises
        ------
        What ``work`` raises. WorkerError : workers died of it, or none is left.
        """
        future = self._submitted(pickle.dumps(work))
        while not self._finished([future]):
            pass
        found: T = self._result(future, "the model")
        return found

    def each(self, work: Callable[[Unit], T], units: Sequence[Unit]) -> Iterator[tuple[Unit, T]]:
        """Every unit with what ``work`` returns for it, as they are done.

        Where one fails, those that are being run are still given, no other is begun, and then it is raised.

        Raises
        ------
        What ``work`` raises. WorkerError : workers died of a unit, or none is left.
        """
        pickled, waiting = pickle.dumps(work), deque(units)
        running: dict[Any, Unit] = {}
        failed: Exception | None = None
        try:
            while running or (waiting and failed is None):
                while waiting and failed is None and len(running) < self._n_workers():
                    unit = waiting.popleft()
                    running[self._submitted(pickled, unit)] = unit
                for future in self._finished([*running]):
                    unit = running.pop(future)
                    try:
                        found = self._result(future, f"unit {unit.number}")
                    except Exception as error:
                        failed = failed or error
                    else:
                        yield unit, found
            if failed is not None:
                raise failed
        finally:
            self._client.cancel([*running])

    def _submitted(self, pickled: bytes, *unit: Unit) -> Any:
        # A key of its own: a scheduler that others use too must not give what it computed for another plan.
        return self._client.submit(_run, pickled, *unit, key=f"qloc-{uuid.uuid4().hex}", pure=False)

    def _n_workers(self) -> int:
        return max(1, len(self._client.nthreads()))

    def _finished(self, futures: list[Any]) -> list[Any]:
        """Those that are done; after a while perhaps none."""
        from distributed import wait
        from distributed.comm.core import CommClosedError

        try:
            with self._client.as_current():
                return list(wait(futures, timeout=_LOOK_EVERY, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            self._look()
            return []
        except (CancelledError, CommClosedError) as error:
            raise self._gone(error) from None

    def _look(self) -> None:
        """See whether there are workers; raises where there have been none for too long."""
        now = time.monotonic()
        if self._client.nthreads():
            self._seen = now
        elif now - self._seen > self._patience:
            rule, action = "at least one", "Run the same command again: what was recorded is kept"
            raise WorkerError(message("number of workers", 0, rule, self._place, action))

    def _result(self, future: Any, what: str) -> Any:
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            got = f"the end of {error.allowed_failures + 1} workers, one after another"
            action = "Run again with fewer workers or a smaller --memory: what was recorded is kept"
            raise WorkerError(message(what, got, "room for it in a worker", self._place, action)) from None
        except (CancelledError, CommClosedError) as error:
            raise self._gone(error) from None

    def _gone(self, error: BaseException) -> WorkerError:
        got, rule = f"gone ({type(error).__name__})", "a scheduler that stays until the end"
        action = "Run the same command again: what was recorded is kept"
        return WorkerError(message("scheduler", got, rule, self._place, action))


_ONE_AT_A_TIME = threading.Lock()


def _run(pickled: bytes, *unit: Unit) -> Any:
    """Run in a worker: one model, whose hooks no two threads may share, however many threads it has."""
    with _ONE_AT_A_TIME:
        return pickle.loads(pickled)(*unit)  # noqa: S301  (the coordinator's own; dask itself pickles)


@contextmanager
def runner(
    workers: int | None,
    cluster: str | None,
    *,
    gpus: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Runner]:
    """What runs units, for the length of a ``with`` block.

    Parameters
    ----------
    workers : start as many worker processes on this machine; each is started again where it dies.
    cluster : address, or scheduler file, of a dask scheduler to join; neither: run in this process.
    gpus : what CUDA_VISIBLE_DEVICES is set to, for one worker after the other.
    say : told what is waited for.

    Raises
    ------
    MissingDependencyError : dask.distributed is not installed.
    InputError : no scheduler answers at ``cluster``. WorkerError : the workers do not start.
    """
    if workers is None and cluster is None:
        yield InProcess()
        return
    require_distributed()
    with dask_settings():
        if cluster is None:
            with started(workers or 1, gpus) as local, client_of(address=local) as client:
                yield Workers(client, "qloc extract --workers", patience=_PATIENCE)
            return
        with joined(cluster) as client:
            if not client.nthreads():
                say(f"Waiting for workers of {cluster} …")
            yield Workers(client, f"cluster {cluster}", patience=math.inf)
