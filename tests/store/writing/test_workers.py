"""Units run in real worker processes: the same store, whoever is killed, and errors as if in one process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import forked
import pytest

pytest.importorskip("distributed", reason="qloc[cluster] is not installed")

import psutil

from qloc.errors import InputError, MissingDependencyError, ModelError, WorkerError
from qloc.store.schema import manifest
from qloc.store.units import ledger
from qloc.workers import dask_clients as cluster_module
from qloc.workers.runner import InProcess, runner

PROGRAM = Path(__file__).parents[1] / "support" / "killed_worker.py"


@pytest.fixture(scope="module")
def works():
    """Give the module whose work both we and the workers import."""
    sys.path.insert(0, str(PROGRAM.parent))  # processes that are spawned get our path
    try:
        import killed_worker

        yield killed_worker
    finally:
        sys.path.remove(str(PROGRAM.parent))


@pytest.fixture(scope="module")
def cluster(works):
    """Start two workers, each pinned to a GPU that it need not have; give the address of their scheduler."""
    with cluster_module.dask_settings(), cluster_module.started(2, ("5", "GPU-7")) as started:
        yield started.scheduler_address


@pytest.fixture(scope="module")
def whole(works, tmp_path_factory):
    """Return the store of one process."""
    path = tmp_path_factory.mktemp("whole") / "s.zarr"
    assert works.extract(path, works.Work(path), InProcess()) == list(range(8))
    return path


def objects(store):
    return manifest.read(store)["objects"]


def recorded(store):
    return {unit.number for unit in ledger.records(store)}


def test_the_store_is_that_of_one_process_though_workers_are_killed(works, cluster, whole, tmp_path):
    store = tmp_path / "s.zarr"
    with runner(None, cluster) as run:
        came = works.extract(store, works.Killed(store, tmp_path), run)
    assert sorted(came) == list(range(8))
    tried = {number: len(list(tmp_path.glob(f"{number}-*"))) for number in range(8)}
    assert min(tried[2], tried[4]) >= 2  # the process that was killed, and another
    assert objects(store) == objects(whole)
    pids = {notes["pid"] for notes in manifest.read(store)["notes"].values()}
    assert os.getpid() not in pids
    assert len(pids) > 1


def test_a_unit_that_kills_every_worker_is_named_and_the_others_are_kept(works, cluster, whole, tmp_path):
    store = tmp_path / "s.zarr"
    with runner(None, cluster) as run, pytest.raises(WorkerError) as caught:
        works.extract(store, works.Deadly(store), run)
    assert str(caught.value) == (
        "unit 3 is 'the end of 4 workers, one after another'; expected room for it in a worker. "
        f"At cluster {cluster}. Run again with fewer workers or a smaller --memory: what was recorded is kept."
    )
    assert recorded(store) >= {0, 1, 2}
    assert 3 not in recorded(store)
    left = set(range(8)) - recorded(store)
    assert set(works.extract(store, works.Work(store), InProcess())) == left
    assert objects(store) == objects(whole)


def test_an_error_comes_out_as_it_was_raised_and_what_ran_beside_it_is_kept(works, cluster, tmp_path):
    store = tmp_path / "s.zarr"
    with runner(None, cluster) as run:
        with pytest.raises(InputError) as caught:
            works.extract(store, works.Erring(store), run)
        assert caught.value.problems == ("one problem", "another")
        assert recorded(store) == {0}
        with pytest.raises(ModelError, match=r"^NaN$"):
            run.call(works.not_finite)


def test_workers_are_processes_of_their_own_each_with_its_gpu(works, cluster):
    units = works.STUDY.outline().units
    with runner(None, cluster) as run:
        seen = {found for _, found in run.each(works.surroundings_of, units)}
        assert run.call(works.surroundings) in seen
    assert {gpu for _, gpu in seen} == {"5", "GPU-7"}
    assert len({pid for pid, _ in seen}) == 2
    assert os.getpid() not in {pid for pid, _ in seen}


def test_ctrl_c_ends_the_workers_and_what_was_recorded_is_kept(tmp_path):
    store = tmp_path / "s.zarr"
    running = forked.Popen(
        [sys.executable, str(PROGRAM), str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, to be sent Ctrl-C as a terminal does: to all of it
    )
    assert running.stdout is not None
    assert {running.stdout.readline(), running.stdout.readline()} == {"0\n", "1\n"}
    os.killpg(running.pid, signal.SIGINT)
    out, error = running.communicate(timeout=60)
    assert (running.returncode, out, error) == (130, "", "")
    deadline = time.monotonic() + 60
    while alive := group(running.pid):
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert recorded(store) == {0, 1}


def group(number):
    """Command lines of the processes of a group that have not ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
    return found


def test_nobody_at_the_address_is_told(monkeypatch):
    monkeypatch.setattr(cluster_module, "_ANSWER", "0.5s")
    with pytest.raises(InputError) as caught, runner(None, "tcp://127.0.0.1:9"):
        pass
    assert str(caught.value).startswith(
        "cluster is 'tcp://127.0.0.1:9'; expected the address or the file of a dask scheduler that runs ("
    )
    assert str(caught.value).endswith(
        "Start one, such as `dask scheduler`, and give the address that it prints."
    )


def test_without_dask_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError) as caught, runner(2, None):
        pass
    assert str(caught.value) == (
        "package distributed is 'missing'; expected installed; qloc[cluster] brings it. At qloc extract --workers "
        "or --cluster. In the clone, run: pip install -c constraints.txt '.[extract,cluster]'."
    )
    with runner(None, None) as run:
        assert isinstance(run, InProcess)
