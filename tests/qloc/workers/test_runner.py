"""Runners: every unit once with its result, and errors as they were raised; workers are threads of this process."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("distributed", reason="qloc[cluster] is not installed")

import dask.array
import dask.base
import dask.threaded

from qloc.block import Unit
from qloc.errors import ModelError, WorkerError
from qloc.workers import runner as module
from qloc.workers.dask_clients import dask_settings
from qloc.workers.runner import InProcess, Workers, runner

UNITS = [
    Unit(number=n, first_fact=n, last_fact=n + 1, first_query=2 * n, last_query=2 * n + 2) for n in range(5)
]


def number(unit: Unit) -> int:
    return 10 * unit.number


def failing(unit: Unit) -> int:
    if unit.number == 1:
        raise ModelError("unit 1")
    time.sleep(0.02)
    return unit.number


def seven() -> int:
    return 7


_inside, _most = 0, 0


def crowded(unit: Unit) -> int:
    """Count how many of these run at once."""
    global _inside, _most
    _inside += 1
    _most = max(_most, _inside)
    time.sleep(0.01)
    _inside -= 1
    return threading.get_ident()


@contextmanager
def client_with(n_workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    local: dict[str, Any] = {"threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with (
        dask_settings(),
        LocalCluster(n_workers=n_workers, **local) as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Connect to a scheduler with two workers."""
    with client_with(2) as connected:
        yield connected


def test_in_this_process_units_are_run_in_order() -> None:
    with runner(None, None) as run:
        assert isinstance(run, InProcess)
        assert list(run.each(number, UNITS)) == [(unit, 10 * unit.number) for unit in UNITS]
        assert run.call(seven) == 7
        results = run.each(failing, UNITS)
        assert next(results) == (UNITS[0], 0)
        with pytest.raises(ModelError, match=r"^unit 1$"):
            next(results)


def test_workers_run_every_unit_once(client: Any) -> None:
    run = Workers(client, "here", patience=math.inf)
    results = list(run.each(number, UNITS))
    assert sorted(results, key=lambda result: result[0].number) == [(u, 10 * u.number) for u in UNITS]
    assert run.call(seven) == 7
    assert list(run.each(number, [])) == []


def test_a_process_runs_one_unit_at_a_time(client: Any) -> None:
    """Both workers are threads here, so that they share the lock."""
    threads = {thread for _, thread in Workers(client, "here", patience=math.inf).each(crowded, UNITS)}
    assert len(threads) > 1
    assert _most == 1


def through_dask(unit: Unit) -> tuple[int, bool]:
    """Add numbers as a study is read: in dask's chunks; and tell whether dask's own threads do it."""
    numbers = dask.array.arange(4 * unit.number, chunks=2)
    return int(numbers.sum().compute()), dask.base.get_scheduler() is dask.threaded.get


def test_units_that_compute_through_dask_do_not_wait_for_the_cluster(client: Any) -> None:
    before = dask.base.get_scheduler()
    results = dict(Workers(client, "here", patience=math.inf).each(through_dask, UNITS))
    assert results == {unit: (sum(range(4 * unit.number)), True) for unit in UNITS}
    assert dask.base.get_scheduler() is before


def test_a_unit_whose_process_is_taken_goes_back_to_the_scheduler(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_FOR_ANOTHER", 0.01)
    tries: list[int] = []

    class Held:
        def acquire(self, timeout: float) -> bool:
            tries.append(1)
            return len(tries) > 2

        def release(self) -> None:
            tries.append(-1)

    monkeypatch.setattr(module, "_ONE_AT_A_TIME", Held())
    assert Workers(client, "here", patience=math.inf).call(seven) == 7
    assert tries == [1, 1, 1, -1]


def test_after_an_error_no_unit_is_begun_and_then_it_is_raised(client: Any) -> None:
    came: list[int] = []
    many = [replace(UNITS[0], number=n) for n in range(30)]  # far more than can end before the error is seen
    results = Workers(client, "here", patience=math.inf).each(failing, many)
    with pytest.raises(ModelError, match=r"^unit 1$"):
        came.extend(unit.number for unit, _ in results)
    assert 0 in came
    assert max(came) < 29


def test_without_workers_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.05)
    words = (
        "number of workers is 0; expected at least one. At here. Run the same command again: what was recorded is "
        "kept."
    )
    with client_with(0) as client, pytest.raises(WorkerError, match=f"^{re.escape(words)}$"):
        Workers(client, "here", patience=0.1).call(seven)
