"""Writer: skeleton, resuming, refusals, and nothing lost whatever kills it."""

import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import numpy as np
import pytest
from synthetic import FINGERPRINT, Synthetic, write_store
from synthetic_phase import append

from qloc.errors import (
    InputError,
    LockedError,
    SchemaError,
    StorageError,
    VerificationError,
)
from qloc.store.files import durable
from qloc.store.files.lock import Lock
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.units import ledger
from qloc.store.writing.writer import Writer, write_unit

PROGRAM = Path(__file__).parents[1] / "support" / "killed_writer.py"


def program(*arguments):
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


def objects(store):
    """Every object's digest: equal ones mean equal bytes, arrays and metadata alike."""
    return manifest.read(store)["objects"]


def test_round_trip(finished, study):
    opened = open_store(finished)
    assert opened.complete
    assert opened.missing == ()
    blocks = study.blocks()
    for name in ("prompt", "answer", "template", "log_probability", "token_rank", "known", "fact"):
        expected = np.concatenate([block.queries[name] for block in blocks])
        got = opened.queries[name].to_numpy()
        np.testing.assert_array_equal(got, expected.astype(got.dtype))
    for name in ("gram", "null_gram"):
        expected = np.concatenate([getattr(block, name) for block in blocks], axis=1)
        np.testing.assert_array_equal(opened.grams[name], expected)
    assert opened.attention is not None
    for name in ("target_row", "column_mass", "column_mass_no_sink", "length"):
        expected = np.concatenate([block.attention[name] for block in blocks])
        np.testing.assert_array_equal(opened.attention[name], expected)
    gap = np.concatenate([block.completeness_gap for block in blocks], axis=1)
    np.testing.assert_array_equal(opened.signals["completeness_gap"], gap)
    for name, column in study.outline().facts.items():
        np.testing.assert_array_equal(opened.facts[name], column)
    assert opened.candidates == {"P36": ("Paris", "Lima"), "P37": ("German",)}
    assert opened.attrs["excluded"] == {"words after [Y]": 2}
    assert opened.signals["attribution"].sel(relation="P36", attribution_method="ig").shape[0] == 10


@pytest.mark.parametrize(
    "study",
    [
        Synthetic(n_facts=0),
        Synthetic(n_facts=4, n_heads=0, unit_facts=9),
        Synthetic(n_facts=1, methods=("ig",)),
    ],
    ids=["no facts", "no attention", "one query"],
)
def test_small_studies(tmp_path, study):
    opened = open_store(write_store(tmp_path / "s.zarr", study))
    assert opened.queries.sizes["query"] == study.n_queries.sum()
    assert (opened.attention is None) == (study.n_heads == 0)
    assert opened.signals["attribution"].to_numpy().shape[:2] == (len(study.methods), study.n_queries.sum())
    assert verify(tmp_path / "s.zarr") == []


def test_facts_without_any_query(tmp_path):
    class Mute(Synthetic):
        @property
        def n_queries(self) -> np.ndarray:
            return np.zeros(3, dtype=np.int32)

    opened = open_store(write_store(tmp_path / "s.zarr", Mute(n_facts=3)))
    assert opened.signals["attribution"].to_numpy().shape == (2, 0, 0)
    assert np.isnan(opened.floors).all()


def test_worker_writes_units_and_coordinator_records_them(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        unit = write_unit(store, study.blocks()[1])
        assert [u.number for u in writer.missing()] == [0, 1, 2, 3]
        writer.record(unit)
        assert [u.number for u in writer.missing()] == [0, 2, 3]
        with pytest.raises(InputError) as caught:
            writer.finalize()
        assert str(caught.value) == (
            f"number of missing units is 3; expected 0. At {store}. Write them before finalizing."
        )


def test_resuming_sweeps_litter_and_redoes_what_does_not_verify(tmp_path, study, finished):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        records = [writer.write(block) for block in study.blocks()]
        stray = write_unit(store, Synthetic(seed=1).block(study.outline().units[0]))
    (store / "units" / "0123.partial").write_bytes(b"half")
    (store / "ledger" / "0123.partial").write_bytes(b"half")
    flipped = bytearray((store / "units" / records[1].file).read_bytes())
    flipped[-1000] ^= 1
    (store / "units" / records[1].file).write_bytes(flipped)
    (store / "units" / records[2].file).unlink()
    record = store / "ledger" / "unit-000003.json"
    record.write_bytes(record.read_bytes().replace(b"unit-000003", b"../../elsew"))
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert [unit.number for unit in writer.missing()] == [1, 2, 3]
        assert not (store / "units" / stray.file).exists()
        assert sorted(p.name for p in (store / "units").iterdir()) == [records[0].file]
        assert sorted(p.name for p in (store / "ledger").iterdir()) == [
            "lock",
            "skeleton.json",
            "unit-000000.json",
        ]
        for unit in writer.missing():
            writer.write(study.block(unit))
        writer.finalize({"device": "cpu"})
    assert objects(store) == objects(finished)


def test_ledger_that_points_out_of_the_store_does_not_count(tmp_path, study):
    store, elsewhere = tmp_path / "s.zarr", tmp_path / "elsewhere.npz"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        unit = writer.write(study.blocks()[0])
    shutil.copy(store / "units" / unit.file, elsewhere)
    record = store / "ledger" / "unit-000000.json"
    record.write_bytes(record.read_bytes().replace(unit.file.encode(), b"../../elsewhere.npz"))
    assert len(open_store(store).missing) == 4
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4
    assert elsewhere.exists()


def test_killed_at_any_instant_twice_it_gives_the_same_bytes(tmp_path, finished):
    """SIGKILL in front of steps all over the run: making, writing, recording, finalizing, clearing up."""
    forked.run(program("instants", tmp_path, 5, 0), check=True, timeout=300)
    stores = sorted(tmp_path.glob("*.zarr"))
    assert len(stores) == 8
    for store in stores:
        assert objects(store) == objects(finished), store
        assert verify(store) == []
    assert not list(tmp_path.glob(".*"))


def test_killed_from_outside_at_random_moments(tmp_path, finished):
    store, rng, landed = tmp_path / "s.zarr", random.Random(0), 0
    for _ in range(3):
        with forked.Popen(
            program("write", store, 0.05), stdout=subprocess.PIPE, start_new_session=True
        ) as run:
            assert run.stdout is not None
            run.stdout.readline()
            time.sleep(rng.uniform(0, 0.1))
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                landed += 1
    assert landed
    forked.run(program("write", store), check=True, stdout=subprocess.DEVNULL)
    assert objects(store) == objects(finished)


def test_interrupted_while_writing_a_unit_the_ledger_stays(tmp_path, study, monkeypatch):
    store = tmp_path / "s.zarr"
    blocks = study.blocks()
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        writer.write(blocks[0])
        monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writer.write(blocks[1])
    monkeypatch.undo()
    assert not list(store.rglob("*.partial"))
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert [unit.number for unit in writer.missing()] == [1, 2, 3]


def test_second_process_is_refused(tmp_path, study):
    store = tmp_path / "s.zarr"
    holder = forked.Popen(program("hold", store), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError) as caught:
            Writer.open(store, study.outline(), FINGERPRINT)
        holder.kill()
    assert str(caught.value) == (
        f"store is 'locked'; expected no other process writing it. "
        f"At {store}. Wait for it to end, or stop it."
    )
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:  # the lock died with its holder
        with pytest.raises(LockedError):
            Writer.open(store, study.outline(), FINGERPRINT)
        assert len(writer.missing()) == 4


def test_a_store_completed_while_it_is_opened_stays_as_it_is(tmp_path, study, monkeypatch):
    store = write_store(tmp_path / "s.zarr", study)
    before = objects(store)
    shutil.rmtree(store)
    first = Writer.open(store, study.outline(), FINGERPRINT)
    for unit in first.missing():
        first.write(study.block(unit))
    take = Lock.take

    def complete_first(path, of):
        """The first process ends between the other's look at the store and its lock."""
        if not first.complete:
            first.finalize({"device": "cpu"})
            path.parent.mkdir()  # as the other's look left it to be done
        return take(path, of)

    monkeypatch.setattr(Lock, "take", complete_first)
    with Writer.open(store, study.outline(), FINGERPRINT) as second:
        assert (second.complete, second.restored) == (True, [])
    assert objects(store) == before
    assert verify(store) == []
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_store_without_manifest_and_ledger_is_not_written_over(copy, study):
    (copy / "manifest.json").unlink()
    with pytest.raises(SchemaError) as caught:
        Writer.open(copy, study.outline(), FINGERPRINT)
    assert str(caught.value) == (
        "store is 'without either'; expected manifest.json (complete) or ledger/ (being written). "
        f"At {copy}. Take the store from its source again."
    )


def test_broken_manifest_is_refused(copy, study):
    (copy / "manifest.json").write_bytes(b"{}")
    with pytest.raises(VerificationError) as caught:
        Writer.open(copy, study.outline(), FINGERPRINT)
    assert str(caught.value) == (
        "manifest is ''; expected the keys libraries, notes, objects, run, schema_version, sha256. "
        f"At {copy}/manifest.json. Take the store from its source again."
    )


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 2 MB, where we may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a tmpfs needs root and the permission to mount")
    yield folder
    gc.collect()  # numpy 2.0 leaves an archive open that the disk had no room for
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("left", [30_000, 150_000, 330_000], ids=["first unit", "a later unit", "finalizing"])
def test_full_disk_loses_nothing(small_disk, tmp_path, study, finished, left):
    """Wherever it fills up: what was recorded stays; with room the same command ends with the same bytes."""
    store, ballast = small_disk / "s.zarr", small_disk / "ballast"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        ballast.write_bytes(b"\0" * (free(small_disk) - left))
        with pytest.raises(StorageError) as caught:
            write_all(writer, study)
        done = 4 - len(writer.missing())
    where = str(caught.value).partition(" At ")[2].partition(". Make")[0]
    assert where.startswith(str(store))
    assert str(caught.value) == (
        f"writing is 'No space left on device'; expected a disk that takes it. At {where}. "
        "Make room or mend the disk and run the same command again: what was recorded is kept."
    )
    ballast.unlink()
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4 - done
        write_all(writer, study)
    assert objects(store) == objects(finished)


def write_all(writer, study):
    for unit in writer.missing():
        writer.write(study.block(unit))
    writer.finalize({"device": "cpu"})


def free(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def test_write_bytes_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    durable.write_bytes(tmp_path / "file", b"first")
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(5, "Input/output error"))
    )
    with pytest.raises(StorageError, match="writing is 'Input/output error'"):
        durable.write_bytes(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_recording_a_unit_that_is_not_there_is_refused(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        unit = ledger.UnitRecord(number=0, file="unit-0.npz", sha256="", size=0, n_slots=0)
        with pytest.raises(InputError) as caught:
            writer.record(unit)
    assert str(caught.value) == (
        f"unit file is 'unit-0.npz'; expected a file that write_unit wrote. At {store}/units. "
        "Write the unit first."
    )


def test_store_of_before_there_were_statistics(phased, study, tmp_path, monkeypatch):
    """Opens, verifies, is not written again, and takes phases."""
    monkeypatch.setattr("qloc.store.schema.layout._relations", lambda outline: ())
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        root = json.loads((store / "zarr.json").read_text())
        del root["attributes"]["layout"]["relations"]
        (store / "zarr.json").write_text(json.dumps(root))
        (store / "ledger" / "skeleton.json").unlink()
        writer.finalize({"device": "cpu"})
    monkeypatch.undo()
    assert not (store / "statistics").exists()
    assert verify(store) == []
    assert open_store(store).statistics is None
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert writer.complete
    append(store, "interventions")
    assert verify(store) == []
    opened, expected = open_store(store).interventions, open_store(phased).interventions
    assert opened is not None
    assert expected is not None
    assert opened.load().identical(expected.load())


def test_unfinished_store_of_before_goes_on_without_them(tmp_path, study, monkeypatch):
    store = tmp_path / "s.zarr"
    with monkeypatch.context() as patched:
        patched.setattr("qloc.store.schema.layout._relations", lambda outline: ())
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            writer.write(study.block(writer.missing()[0]))
            root = json.loads((store / "zarr.json").read_text())
            del root["attributes"]["layout"]["relations"]
            (store / "zarr.json").write_text(json.dumps(root))
            (store / "ledger" / "skeleton.json").unlink()
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        writer.finalize()
    assert verify(store) == []
    assert open_store(store).statistics is None
