"""repair: whatever is damaged, the store is that of before, bit for bit, and no more is extracted than needed."""

import os
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
from synthetic import Synthetic, WithColumn, write_store

from qloc.errors import InputError, LockedError, VerificationError
from qloc.store.integrity.verify import verify
from qloc.store.repair.whole_store import Repair, _parents_first
from qloc.store.schema import manifest


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def remove(path):
    path.unlink()


def link(path):
    elsewhere = path.parents[path.parts[::-1].index("s.zarr")] / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def become_folder(path):
    path.unlink()
    path.mkdir()


def repaired(store, study):
    """Repair a store as the joiner does; what was done, and the units that were asked for."""
    with Repair.open(store) as repair:
        if repair.facts:
            repair.put_facts(study.outline().facts)
        (stage,) = repair.stages
        asked = [unit.number for unit in stage.units]
        for unit in stage.units:
            stage.put(study.block(unit))
        repair.settle(stage)
        return repair.finish(), asked


def test_phases_stand_behind_those_that_they_were_chosen_from():
    """Strangers may say anything of their parents."""
    of = {"signals": "1"}
    made = {
        "edits": {"made_from": {"parents": {**of, "tracing": "2"}}},
        "interventions": {"made_from": {"parents": of}},
        "tracing": {"made_from": {"parents": of}},
    }
    assert _parents_first(made, made) == ["interventions", "tracing", "edits"]
    others: list[object] = [[], {"made_from": 3}, {"made_from": {"parents": "x"}}]
    for other in others:
        assert _parents_first(made, {**made, "edits": other})[0] == "edits"


def test_a_sound_store_stays_as_it_is(damaged, cut, study, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in damaged.rglob("*")}
    done, asked = repaired(damaged, study)
    assert (done.objects, done.accepted, done.units, done.set_aside, asked) == ((), (), {}, (), [])
    assert {path: path.stat().st_mtime_ns for path in damaged.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [damaged]


def test_every_object_alone(damaged, cut, study):
    """Every second object, damaged in one of five ways: its bytes again, and its units only; then the others at once."""
    whole, rng = contents(cut), random.Random(0)
    names = sorted(manifest.read(cut)["objects"])
    kinds = [flip, truncate, remove, link, become_folder]
    assert len(names) > 110
    n_units = 0
    alone, together = names[::2], names[1::2]
    for number, name in enumerate(alone):
        kind = kinds[number % 5] if (cut / name).stat().st_size else remove
        kind(damaged / name)
        done, asked = repaired(damaged, study)
        assert done.objects == (name,), (name, kind)
        assert tuple(asked) == done.units.get("signals", ()) == units_by_hand(cut, name, study), name
        n_units += len(asked)
        assert (damaged / name).read_bytes() == whole[name]
        assert not (damaged / name).is_symlink()
        if rng.random() < 0.05:
            assert contents(damaged) == whole
    assert contents(damaged) == whole
    assert n_units > 50
    for number, name in enumerate(together):
        kinds[number % 3](damaged / name)
    done, asked = repaired(damaged, study)
    assert sorted(done.objects) == together
    assert asked == [0, 1, 2, 3]
    assert contents(damaged) == whole


def units_by_hand(store, name, study):
    """Units with rows in an object, counted row by row from the facts' queries."""
    group, _, rest = name.partition("/")
    array, slash, chunk = rest.partition("/c/")
    if not slash or group == "facts" or array == "attribution_method":
        return ()
    if group in ("statistics", "neurons"):
        return () if array == "relation" else tuple(range(-(-study.n_facts // study.unit_facts)))
    import zarr

    found = zarr.open_array(store / group / array, mode="r")
    dims = found.metadata.to_dict()["dimension_names"]
    assert isinstance(dims, (list, tuple))
    axis = next(d for d, dim in enumerate(dims) if dim in ("query", "fact"))
    of_facts = dims[axis] == "fact"
    step = (found.shards or found.chunks)[axis]
    first = int(chunk.split("/")[axis]) * step
    unit_of_fact = np.arange(study.n_facts) // study.unit_facts
    of_row = unit_of_fact if of_facts else np.repeat(unit_of_fact, study.n_queries)
    return tuple(sorted(set(of_row[first : first + step].tolist())))


def test_a_column_that_is_called_as_the_folders_of_chunks(tmp_path):
    study = WithColumn(n_facts=4, column="c")
    store = write_store(tmp_path / "s.zarr", study)
    whole = contents(store)
    assert {"facts/c/zarr.json", "facts/c/c/0"} <= set(whole)
    for name in ("facts/c/c/0", "facts/c/zarr.json"):
        flip(store / name)
        done, asked = repaired(store, study)
        assert (done.objects, asked) == ((name,), [])
    assert contents(store) == whole


def test_everything_but_the_manifest_is_gone(damaged, cut, study):
    whole = contents(cut)
    for path in damaged.iterdir():
        if path.name != "manifest.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    done, asked = repaired(damaged, study)
    assert asked == [0, 1, 2, 3]
    assert contents(damaged) == whole
    assert set(done.objects) == set(whole) - {"manifest.json"}


def test_swapped_shards_are_put_right(damaged, cut, study):
    names = [f"signals/attribution/c/0/{n}/0" for n in (0, 2)]
    one, other = ((cut / name).read_bytes() for name in names)
    (damaged / names[0]).write_bytes(other)
    (damaged / names[1]).write_bytes(one)
    _, asked = repaired(damaged, study)
    assert asked == sorted({*units_by_hand(cut, names[0], study), *units_by_hand(cut, names[1], study)})
    assert contents(damaged) == contents(cut)


def test_a_repair_that_was_interrupted_goes_on(damaged, cut, study, tmp_path):
    shutil.rmtree(damaged / "signals" / "attribution" / "c")
    with Repair.open(damaged) as repair:
        (stage,) = repair.stages
        assert len(stage.units) == 4
        stage.put(study.block(stage.units[0]))
        with pytest.raises(LockedError) as caught:
            Repair.open(damaged)
    assert str(caught.value) == (
        f"path is 'being written'; expected no other process writing it. At {damaged}. "
        "Wait for it to end, or stop it."
    )
    _, asked = repaired(damaged, study)
    assert asked == [1, 2, 3]
    assert contents(damaged) == contents(cut)
    assert list(tmp_path.iterdir()) == [damaged]


KILLED = """
import os, random, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from killed_writer import die_after
from synthetic import Synthetic
from qloc.store.repair.whole_store import Repair, _parents_first

def repair(store):
    with Repair.open(store) as repair:
        if repair.facts:
            repair.put_facts(Synthetic().outline().facts)
        for stage in repair.stages:
            for unit in stage.units:
                stage.put(Synthetic().block(unit))
            repair.settle(stage)
        repair.finish()

store, instants = Path(sys.argv[2]), [int(n) for n in sys.argv[3:]]
for budget in [*instants, None]:
    child = os.fork()
    if child == 0:
        die_after(budget)
        repair(store)
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def test_a_repair_killed_at_any_instant_gives_the_same_bytes(damaged, cut):
    for name in (
        "zarr.json",
        "facts/subject/c/0",
        "signals/gradient/zarr.json",
        "README.md",
        "grams/gram/c/0/0/0/0",
    ):
        flip(damaged / name)
    (damaged / "attention" / "length" / "c" / "0").unlink()
    (damaged / "more").touch()
    support, instants = Path(__file__).parents[1] / "support", map(str, (0, 2, 5, 9, 14, 20, 26, 30))
    done = forked.run(
        [sys.executable, "-c", KILLED, str(support), str(damaged), *instants],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    statuses = done.stdout.split()
    assert statuses[-1] == "0", done.stderr
    assert statuses.count("9") >= 6, statuses
    assert contents(damaged) == contents(cut)


class Elsewhere(Synthetic):
    """The same study on another device: numbers differ in their last bits."""

    def block(self, unit):
        block = super().block(unit)
        scores = block.attribution * (1 + 1e-6)
        queries = {**block.queries, "log_probability": block.queries["log_probability"] - 1e-6}
        return replace(block, attribution=scores, gradient=block.gradient * (1 - 1e-6), queries=queries)


def repaired_elsewhere(store, other, accept=None):
    with Repair.open(store) as repair:
        (stage,) = repair.stages
        units = stage.units
        for unit in units:
            stage.put(other.block(unit))
        repair.settle(stage, accept)
        return repair.finish(), units


def test_numbers_of_another_device_are_refused_and_then_accepted(damaged, cut, study, tmp_path):
    """Accepted, all arrays have the unit as that device gives it: none has one array of it only."""
    name, other = "signals/attribution/c/0/1/0", Elsewhere()
    flip(damaged / name)
    flip(damaged / "signals/activation/c/1/0")  # has the same numbers there, so it is rebuilt either way
    units = units_by_hand(cut, name, study)
    assert 0 < len(units) < 4
    before = contents(damaged)
    with pytest.raises(VerificationError) as caught:
        repaired_elsewhere(damaged, other)
    said = manifest.read(cut)["objects"][name]["sha256"]
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(
        "array signals/attribution, queries 6 to 11 (units 1 to 2) is "
    )
    assert caught.value.problems[0].endswith(
        f" when rebuilt'; expected sha256 {said}. At {damaged / name}. "
        "Repair where it was made (the manifest's run says on what), or add --accept."
    )
    now = contents(damaged)
    assert [changed for changed in now if now[changed] != before[changed]] == ["signals/activation/c/1/0"]
    assert now["signals/activation/c/1/0"] == contents(cut)["signals/activation/c/1/0"]

    done, asked = repaired_elsewhere(damaged, other, {"device": "another"})
    assert (
        done.units["signals"] == tuple(unit.number for unit in asked) == units
    )  # nothing was kept of the refused ones
    assert {name, "README.md"} < set(done.accepted) | {"README.md"}
    assert verify(damaged) == []
    told = manifest.read(damaged)["run"]
    assert told == {
        "device": "cpu",
        "repairs": [{"device": "another", "objects": list(done.accepted), "units": list(units)}],
    }

    class Mixed(Synthetic):
        def block(self, unit):
            return (other if unit.number in units else study).block(unit)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
        mixed = write_store(tmp_path / "mixed.zarr", Mixed())
    assert manifest.read(damaged)["objects"] == manifest.read(mixed)["objects"]
    assert "queries/log_probability/c/0" in done.accepted


def test_an_archive_is_not_repaired_in_place(finished, tmp_path):
    from qloc.store.exchange.pack import pack

    packed = pack(finished, tmp_path / "s.zarr.zip")
    with pytest.raises(InputError) as caught:
        Repair.open(packed)
    assert str(caught.value) == (
        f"store is 'packed'; expected a folder. At {packed}. "
        "Take the archive from its source again, or unzip it and repair the folder."
    )


def test_what_is_no_store_is_not_repaired(tmp_path):
    with pytest.raises(VerificationError):
        Repair.open(tmp_path)
