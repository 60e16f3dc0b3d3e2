"""Clients of schedulers: settings that come back, a scheduler joined by address or by file, a missing package."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="qloc[cluster] is not installed")

import dask

from qloc.errors import InputError, MissingDependencyError
from qloc.workers import dask_clients
from qloc.workers.dask_clients import client_of, dask_settings, joined, require_distributed

TTL = "distributed.scheduler.worker-ttl"


@pytest.fixture
def scheduler() -> Iterator[Any]:
    from distributed import LocalCluster

    with (
        dask_settings(),
        LocalCluster(
            n_workers=0, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp"
        ) as cluster,
    ):
        yield cluster


def test_settings_hold_within_the_block_only() -> None:
    before = dask.config.get(TTL)
    with dask_settings():
        assert dask.config.get(TTL) is None
        assert dask.config.get("distributed.worker.multiprocessing-method") == "forkserver"
        assert dask.config.get("distributed.worker.profile.enabled") is False
    assert dask.config.get(TTL) == before is not None


def test_a_scheduler_is_joined_by_address_and_by_file(scheduler: Any, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": scheduler.scheduler_address, "type": "Scheduler"}))
    for cluster in (scheduler.scheduler_address, str(file)):
        with joined(cluster) as client:
            assert client.scheduler.address == scheduler.scheduler_address
            assert client.nthreads() == {}
        assert client.status == "closed"
    assert scheduler.status.name == "running"


def test_a_client_is_closed_after_an_error(scheduler: Any) -> None:
    with pytest.raises(ZeroDivisionError), client_of(address=scheduler) as client:
        raise ZeroDivisionError
    assert client.status == "closed"


def test_a_scheduler_that_is_slow_to_let_go_does_not_hide_the_error(
    scheduler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    close = Client.close

    def late(self: Client, timeout: object = None) -> None:
        close(self, timeout=timeout)
        if (
            timeout is not None
        ):  # clients of other tests close as they are collected: nobody could catch that error
            raise TimeoutError

    monkeypatch.setattr(Client, "close", late)
    with pytest.raises(ZeroDivisionError), client_of(address=scheduler):
        raise ZeroDivisionError


@pytest.mark.parametrize("cluster", ["tcp://127.0.0.1:9", "nonsense://here"])
def test_where_nobody_answers_is_said(monkeypatch: pytest.MonkeyPatch, cluster: str) -> None:
    monkeypatch.setattr(dask_clients, "_ANSWER", "0.3s")
    with dask_settings(), pytest.raises(InputError) as caught, joined(cluster):
        pass
    first, last = str(caught.value).split("(", 1)
    assert first == f"cluster is {cluster!r}; expected the address or the file of a dask scheduler that runs "
    assert last.endswith(
        "). At --cluster. Start one, such as `dask scheduler`, and give the address that it prints."
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_distributed()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError) as caught:
        require_distributed()
    assert str(caught.value) == (
        "package distributed is 'missing'; expected installed; qloc[cluster] brings it. At qloc extract --workers "
        "or --cluster. In the clone, run: pip install -c constraints.txt '.[extract,cluster]'."
    )


def test_workers_know_variables_that_are_younger_than_the_process_they_are_forked_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("one", "two"):
        monkeypatch.setenv("QLOC_TEST_VARIABLE", value)
        with (
            dask_settings(),
            dask_clients.started(1, ("3",)) as cluster,
            client_of(address=cluster.scheduler_address) as client,
        ):
            assert client.submit(os.getenv, "QLOC_TEST_VARIABLE", pure=False).result() == value
            assert client.submit(os.getenv, "CUDA_VISIBLE_DEVICES", pure=False).result() == "3"
