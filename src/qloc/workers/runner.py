"""Run units in this process, or in worker processes of dask.distributed.

Units are independent, and the result of a unit depends on the plan and the unit alone. A unit may therefore
be run anywhere, and again where a worker died. Work travels pickled and is run by one thread a process.
Results come back in the order of completion; recording them is left to the caller.
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
"""Seconds between two checks whether any worker is left."""

_WAIT_FOR_ANOTHER: Final = 2.0
"""Seconds for which a unit waits, in its worker, for another unit there to end."""

_PATIENCE: Final = 300.0
"""Seconds for which all of our own workers may be gone; a worker that died is back sooner."""


class Runner(Protocol):
    """Runs work on units, in this process or elsewhere."""

    def call(self, work: Callable[[], T]) -> T:
        """Run work once, in a process that units are run in.

        Parameters
        ----------
        work : callable
            Takes no arguments.

        Returns
        -------
        Any
            What ``work`` returns.
        """

    def each(self, work: Callable[[Unit], T], units: Sequence[Unit]) -> Iterator[tuple[Unit, T]]:
        """Run work on every unit, and yield results as they are done.

        Parameters
        ----------
        work : callable
            Takes a unit.
        units : sequence of Unit
            The units to run.

        Yields
        ------
        unit : Unit
            A unit that is done.
        result : Any
            What ``work`` returns for it.
        """


class InProcess:
    """Runs units in this process, one after the other."""

    def call(self, work: Callable[[], T]) -> T:
        """Run work once.

        Parameters
        ----------
        work : callable
            Takes no arguments.

        Returns
        -------
        Any
            What ``work`` returns.
        """
        return work()

    def each(self, work: Callable[[Unit], T], units: Sequence[Unit]) -> Iterator[tuple[Unit, T]]:
        """Run work on every unit, in order.

        Parameters
        ----------
        work : callable
            Takes a unit.
        units : sequence of Unit
            The units to run.

        Yields
        ------
        unit : Unit
            A unit that is done.
        result : Any
            What ``work`` returns for it.
        """
        for unit in units:
            yield unit, work(unit)


class Workers:
    """Runs units in the workers of a dask scheduler, one at a time in each.

    Work is pickled. What it needs, such as a loaded model, it makes and keeps in the worker's process.

    Parameters
    ----------
    client : distributed.Client
        A client of the scheduler.
    place : str
        Name of the cluster in messages.
    patience : float
        Seconds for which the scheduler may have no worker.
    """

    def __init__(self, client: Any, place: str, *, patience: float) -> None:
        self._client, self._place, self._patience = client, place, patience
        self._seen = time.monotonic()

    def call(self, work: Callable[[], T]) -> T:
        """Run work once, in one of the workers.

        Parameters
        ----------
        work : callable
            Takes no arguments.

        Returns
        -------
        Any
            What ``work`` returns.

        Raises
        ------
        Exception
            ``work`` raised it, in the worker.
        WorkerError
            Several workers died of it, no worker has been left for too long, or the scheduler is gone.
        """
        future = self._submitted(pickle.dumps(work))
        while not self._finished([future]):
            pass
        result: T = self._result(future, "the model")
        return result

    def each(self, work: Callable[[Unit], T], units: Sequence[Unit]) -> Iterator[tuple[Unit, T]]:
        """Run work on every unit, and yield results as they are done.

        When a unit fails, no other is begun, those that are running are still yielded, and then its error is
        raised.

        Parameters
        ----------
        work : callable
            Takes a unit.
        units : sequence of Unit
            The units to run.

        Yields
        ------
        unit : Unit
            A unit that is done.
        result : Any
            What ``work`` returns for it.

        Raises
        ------
        Exception
            ``work`` raised it, in the worker.
        WorkerError
            Several workers died of it, no worker has been left for too long, or the scheduler is gone.
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
                        result = self._result(future, f"unit {unit.number}")
                    except Exception as error:
                        failed = failed or error
                    else:
                        yield unit, result
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
        """Wait until some of the futures are done, and return those; none after a while in vain."""
        from distributed.client import _wait
        from distributed.comm.core import CommClosedError

        try:
            # Not distributed.wait: it wants a current client, which all of this process would compute with.
            done = self._client.sync(_wait, futures, timeout=_LOOK_EVERY, return_when="FIRST_COMPLETED").done
            return list(done)
        except TimeoutError:
            self._look()
            return []
        except (CancelledError, CommClosedError) as error:
            raise self._gone(error) from None

    def _look(self) -> None:
        """Check whether there are workers, and raise an error where there have been none for too long."""
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
    """Run pickled work in a worker, one at a time: two threads may not put hooks on the same model.

    Nothing in here waits for the cluster. Work that reads a study through dask computes in threads of this
    process: dask would else send its tasks to the cluster and give up this worker's slot until they are done,
    and the unit that gets the slot would wait for the lock, and the tasks for the slot. Where the lock is
    held all the same, the unit goes back to the scheduler, which may have another worker for it.
    """
    import dask
    from distributed import Reschedule

    if not _ONE_AT_A_TIME.acquire(timeout=_WAIT_FOR_ANOTHER):
        raise Reschedule
    try:
        with dask.config.set(scheduler="threads"):
            return pickle.loads(pickled)(*unit)  # noqa: S301  (the coordinator's own; dask itself pickles)
    finally:
        _ONE_AT_A_TIME.release()


@contextmanager
def runner(
    workers: int | None,
    cluster: str | None,
    *,
    gpus: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Runner]:
    """Provide a runner of units, for the length of a ``with`` block.

    Parameters
    ----------
    workers : int or None
        Number of worker processes to start on this machine. Each is started again when it dies.
    cluster : str or None
        Address, or scheduler file, of a dask scheduler to join. Where ``workers`` is None too, units are run
        in this process.
    gpus : sequence of str
        Values of ``CUDA_VISIBLE_DEVICES``, given to one worker after the other in turn.
    say : callable
        Called with a sentence about what is being waited for.

    Yields
    ------
    Runner
        It may be used until the block ends.

    Raises
    ------
    MissingDependencyError
        dask.distributed is not installed.
    InputError
        No scheduler answers at ``cluster``.
    WorkerError
        The workers do not start.
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
