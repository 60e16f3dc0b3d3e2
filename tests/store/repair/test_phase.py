"""repair of phases: the units of damaged objects alone are run again, once signals are what they were."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
import zarr
from synthetic import write_store
from synthetic_phase import append, block, fingerprint, outline

from qloc.block import PhaseBlock
from qloc.errors import LockedError, VerificationError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.repair.whole_store import Repair
from qloc.store.schema import manifest
from qloc.store.writing import append as appending
from qloc.store.writing.phase_writer import PhaseWriter

PHASES = ("interventions", "edits")
GROUP_OF = {
    **dict.fromkeys(("interventions", "synapses", "synapse_views"), "interventions"),
    "edits": "edits",
}
COPIED = {"fact", "relation", "template"}


@pytest.fixture(scope="module")
def cut(tmp_path_factory, study):
    """Return a complete store of every phase, in many small shards, that no test may change."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 300)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 600)
        store = write_store(tmp_path_factory.mktemp("cut") / "s.zarr", study)
        for phase in PHASES:
            append(store, phase)
    return store


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flip(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def made(stage, unit, study):
    return study.block(unit) if stage.phase == "signals" else block(stage.phase, unit)


def repaired(store, study, accept=None, made=made):
    """Repair a store as the joiner does; what was done, and the units that were asked for, by phase."""
    asked: dict[str, list[int]] = {}
    with Repair.open(store) as repair:
        if repair.facts:
            repair.put_facts(study.outline().facts)
        for stage in repair.stages:
            for unit in stage.units:
                asked.setdefault(stage.phase, []).append(unit.number)
                stage.put(made(stage, unit, study))
            repair.settle(stage, accept)
        return repair.finish(), asked


def units_by_hand(store, name, study):
    """Phase and units with rows in an object, counted row by row; none where it comes from none."""
    group, array, *chunk = name.split("/")
    if "c" not in chunk or array in COPIED:
        return None
    found = zarr.open_array(store / group / array, mode="r")
    dims = found.metadata.to_dict()["dimension_names"]
    assert isinstance(dims, (list, tuple))
    if tuple(dims) == (array,):
        return None
    axis = next(d for d, dim in enumerate(dims) if dim in ("query", "fact"))
    step = (found.shards or found.chunks)[axis]
    first = int(chunk[1 + axis]) * step
    unit_of_fact = np.arange(study.n_facts) // study.unit_facts
    of_row = unit_of_fact if dims[axis] == "fact" else np.repeat(unit_of_fact, study.n_queries)
    return GROUP_OF[group], sorted(set(of_row[first : first + step].tolist()))


def of_phases(store):
    return [name for name in sorted(manifest.read(store)["objects"]) if name.split("/")[0] in GROUP_OF]


STRINGS = ("edits/new_object/c/0", "edits/edit_set/c/0", "edits/relation/c/0", "edits/probe_kind/c/0/0")


def test_objects_of_the_phases_alone(damaged, cut, study):
    """Pieces of arrays, labels, copied coordinates and metadata: the bytes again, by their own units only.

    Every eighth of them: each takes a repair of its own. One of every array is in the next test but one.
    """
    whole, names = contents(cut), of_phases(cut)
    assert len(names) > 130
    names = [*names[::8], *STRINGS, "synapses/zarr.json", "interventions/fact/c/0"]
    kinds: tuple[Callable[[Path], None], ...] = (flip, truncate, Path.unlink)
    n_units = 0
    for number, name in enumerate(names):
        kinds[number % 3](damaged / name)
        done, asked = repaired(damaged, study)
        expected = units_by_hand(cut, name, study)
        assert asked == ({} if expected is None else dict([expected])), name
        assert done.units == {phase: tuple(units) for phase, units in asked.items()}
        assert (done.objects, done.accepted, done.set_aside) == ((name,), (), ())
        assert (damaged / name).read_bytes() == whole[name]
        n_units += sum(map(len, asked.values()))
    assert contents(damaged) == whole
    assert n_units > 15


def test_any_bit_is_found_and_put_right(damaged, cut, study):
    """Several bits of objects of every group of the phases, first, last and between."""
    rng = random.Random(0)
    for name in rng.sample(of_phases(cut), 5):
        for at in (0, rng.random(), 1):
            flip(damaged / name, at)
            assert len(verify(damaged)) == 1
            repaired(damaged, study)
    assert contents(damaged) == contents(cut)


def test_signals_and_phases_at_once(damaged, cut, study):
    """One piece of every array of the store; the phases are asked for when signals are what they were."""
    whole = contents(cut)
    names: dict[str, list[str]] = {}
    for name in manifest.read(cut)["objects"]:
        if "/c/" in name:
            names.setdefault(name.partition("/c/")[0], []).append(name)
    for number, of_array in enumerate(names.values()):
        flip(damaged / of_array[number % len(of_array)])
    assert len(names) > 90
    order = []

    def watched(stage, unit, study):
        order.append(stage.phase)
        if stage.phase != "signals":
            now = contents(damaged)
            ours = [name for name in whole if name.split("/")[0] not in (*GROUP_OF, "appending")]
            assert all(now[name] == whole[name] for name in ours)
            assert open_store(damaged, phases=()).signals["attribution"].load().notnull().any()
        return made(stage, unit, study)

    assert len(verify(damaged)) == len(names)
    done, asked = repaired(damaged, study, made=watched)
    assert [*dict.fromkeys(order)] == ["signals", *PHASES]
    assert {phase: sorted(units) for phase, units in asked.items()} == asked
    assert contents(damaged) == whole
    assert len(done.objects) == len(names)


def test_everything_but_the_manifest_is_gone(damaged, cut, study):
    for path in damaged.iterdir():
        if path.name != "manifest.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _, asked = repaired(damaged, study)
    assert asked == {phase: [0, 1, 2, 3] for phase in ("signals", *PHASES)}
    assert contents(damaged) == contents(cut)


def test_swapped_and_extra_objects(damaged, cut, study):
    one, other = "edits/rank/c/0/0/0/0", "edits/new_rank/c/0/0/0/0"
    for name, source in ((one, other), (other, one)):
        (damaged / name).write_bytes((cut / source).read_bytes())
    (damaged / "synapses/rank/c/0/0/99").write_bytes(b"more")
    done, asked = repaired(damaged, study)
    assert done.objects == (other, one)
    assert [path.name for path in done.set_aside] == ["99"]
    assert asked == dict([units_by_hand(cut, one, study)])
    assert contents(damaged) == contents(cut)


def test_a_store_with_one_phase_and_an_absent_group(copy, study):
    append(copy, "interventions", "synapses")
    whole = contents(copy)
    for name in ("interventions/logit/c/0/0/0", "interventions/relation/c/0", "README.md"):
        flip(copy / name)

    def without(stage, unit, study):
        return block("interventions", unit, "synapses")

    done, asked = repaired(copy, study, made=without)
    assert asked == {"interventions": [0, 1, 2, 3]}
    assert len(done.objects) == 3
    assert contents(copy) == whole


def test_an_interrupted_repair_goes_on_in_the_midst_of_a_phase(damaged, cut, study, tmp_path):
    for name in ("signals/gradient/c/0/0", "edits/text_nats/c/0/0/0", "interventions/fact/c/0"):
        flip(damaged / name)
    shutil.rmtree(damaged / "edits/rank/c")
    with Repair.open(damaged) as repair:
        signals, interventions, edits = repair.stages
        for unit in signals.units:
            signals.put(study.block(unit))
        repair.settle(signals)
        repair.settle(interventions)
        assert [unit.number for unit in edits.units] == [0, 1, 2, 3]
        for unit in edits.units[:2]:
            edits.put(block("edits", unit))
        with pytest.raises(LockedError):
            appending.hold_store(damaged)  # nor can anybody append to it
    done, asked = repaired(damaged, study)
    assert asked == {"edits": [2, 3]}
    assert done.units == {"edits": (0, 1, 2, 3)}
    assert contents(damaged) == contents(cut)
    assert list(tmp_path.iterdir()) == [damaged]


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from killed_writer import die_after
from synthetic import Synthetic
from synthetic_phase import block
from qloc.store.repair.whole_store import Repair

def repair(store):
    with Repair.open(store) as repair:
        if repair.facts:
            repair.put_facts(Synthetic().outline().facts)
        for stage in repair.stages:
            for unit in stage.units:
                signals = stage.phase == "signals"
                stage.put(Synthetic().block(unit) if signals else block(stage.phase, unit))
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
        "facts/relation/c/0",
        "queries/known/c/0",
        "edits/relation/c/0",
        "edits/zarr.json",
        "interventions/neighbor/c/0",
        "synapses/synapse_set/c/0",
        "README.md",
    ):
        flip(damaged / name)
    (damaged / "edits/probe_kind/c/0/0").unlink()
    (damaged / "edits/more").touch()
    support, instants = (
        Path(__file__).parents[1] / "support",
        map(str, (1, 4, 9, 15, 22, 30, 40, 50)),
    )
    done = forked.run(
        [sys.executable, "-c", KILLED, str(support), str(damaged), *instants],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    statuses = done.stdout.split()
    assert statuses[-1] == "0", done.stderr
    assert statuses.count("9") >= 6, (statuses, done.stderr)
    assert contents(damaged) == contents(cut)


# Numbers of another device


def elsewhere(stage, unit, study):
    """The same on another device: some numbers differ in their last bits."""
    found = made(stage, unit, study)
    if isinstance(found, PhaseBlock):
        arrays = {
            path: one * 1.000001 if one.dtype.kind == "f" else one for path, one in found.arrays.items()
        }
        return replace(found, arrays=arrays, notes={"shrunk": {"rows": 1}})
    return replace(found, gradient=found.gradient * 1.000001)


def test_other_numbers_of_a_phase_are_refused_and_then_accepted(damaged, cut, study):
    """Accepted, all arrays of that phase have the unit as that device gives it; the others stay."""
    whole = contents(cut)
    name = next(n for n in of_phases(cut)[::-1] if n.startswith("edits/log_probability/c/"))
    flip(damaged / name)
    flip(damaged / "interventions/rank/c/0/0/0")  # has the same bytes there
    phase, units = units_by_hand(cut, name, study)
    assert (phase, len(units)) == ("edits", 2)
    with pytest.raises(VerificationError) as caught:
        repaired(damaged, study, made=elsewhere)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("array edits/log_probability, facts ")
    assert caught.value.problems[0].endswith("or add --accept.")
    assert {n for n, content in contents(damaged).items() if content != whole[n]} == {name}

    done, _ = repaired(damaged, study, {"device": "another"}, made=elsewhere)
    assert verify(damaged) == []
    changed = {n for n, content in contents(damaged).items() if content != whole[n]}
    assert changed == {*done.accepted, "manifest.json"}
    assert {n.split("/")[0] for n in changed} == {"edits", "manifest.json", *({"README.md"} & changed)}
    said = manifest.read(damaged)
    entry = {"device": "another", "phase": "edits", "objects": list(done.accepted), "units": units}
    assert said["run"]["repairs"] == [entry]
    assert said["notes"] == {f"edits/{unit}": {"shrunk": {"rows": 1}} for unit in units}
    opened, before = open_store(damaged).edits, open_store(cut).edits
    assert opened is not None
    assert before is not None
    rows = np.isin(np.arange(study.n_facts) // study.unit_facts, units)
    for variable in ("text_nats", "log_probability", "probe_kl"):
        ratio = (opened[variable] / before[variable]).transpose("fact", ...).to_numpy()
        # In float32, one part in a million is some eight roundings.
        np.testing.assert_allclose(ratio[rows], 1.000001, rtol=2e-7)
        assert (ratio[~rows] == 1).all()


def test_where_signals_are_refused_phases_wait(damaged, cut, study):
    names = ["README.md", "edits/rank/c/0/0/0/0", "interventions/relation/c/0", "signals/gradient/c/0/0"]
    for name in names:
        flip(damaged / name)
    before = contents(damaged)
    with pytest.raises(VerificationError) as caught:
        repaired(damaged, study, made=elsewhere)
    problems = sorted(caught.value.problems)
    assert [problem.split(",")[0].split(" is ")[0] for problem in problems] == [
        "array edits/rank",
        "array interventions/relation",
        "array signals/gradient",
        "the card",
    ]
    for problem in (problems[0], problems[1], problems[3]):
        assert " is 'damaged'; " in problem
        assert problem.endswith("Repair the objects of signals first, which it follows from.")
    assert contents(damaged) == before

    def other_signals(stage, unit, study):
        return elsewhere(stage, unit, study) if stage.phase == "signals" else made(stage, unit, study)

    done, asked = repaired(damaged, study, {"device": "another"}, made=other_signals)
    assert verify(damaged) == []
    assert asked["edits"] == units_by_hand(cut, names[1], study)[1]
    assert {"edits/rank/c/0/0/0/0", "interventions/relation/c/0"} == {*done.objects}
    assert {name.partition("/")[0] for name in done.accepted} <= {"signals", "README.md"}
    assert [one["units"] for one in manifest.read(damaged)["run"]["repairs"]] == [asked["signals"]]


def test_a_crash_after_signals_were_accepted_goes_on(damaged, study):
    """The manifest says what was accepted before a phase is begun: nothing of it is asked for again."""
    for name in ("edits/rank/c/0/0/0/0", "signals/gradient/c/0/0"):
        flip(damaged / name)
    (damaged / "edits/argmax/c/0/0/0/0").unlink()  # the card tells of its bytes
    with Repair.open(damaged) as repair:
        signals = repair.stages[0]
        for unit in signals.units:
            signals.put(elsewhere(signals, unit, study))
        repair.settle(signals, {"device": "another"})
    problems = verify(damaged)
    assert [problem.split(",")[0] for problem in problems] == ["array edits/argmax", "array edits/rank"]
    _, asked = repaired(damaged, study)
    assert [*asked] == ["edits"]
    assert verify(damaged) == []


def test_a_phase_that_was_decided_is_moved_in_before_anything_is_damaged(copy, phased, study, monkeypatch):
    """A run killed among the last renames: what it had moved is no part of the earlier manifest."""
    move_in = appending._move_in
    append(copy, "edits")

    def cut_off(store, commit):
        with monkeypatch.context() as patched:
            left = iter([Path.replace] * 5)  # three groups, the card and the root
            patched.setattr(Path, "replace", lambda path, target: next(left)(path, target))
            move_in(store, commit)

    with PhaseWriter.open(copy, outline("interventions"), fingerprint("interventions")) as writer:
        for unit in writer.missing():
            writer.write(block("interventions", unit))
        with monkeypatch.context() as patched:
            patched.setattr(appending, "_move_in", cut_off)
            with pytest.raises(StopIteration):
                writer.finalize({"device": "cpu"})
    flip(copy / "zarr.json")
    done, asked = repaired(copy, study)
    assert (done.objects, done.set_aside, asked) == (("zarr.json",), (), {})
    assert manifest.read(copy)["objects"] == manifest.read(phased)["objects"]
    assert verify(copy) == []
    assert not (copy / "appending").exists()


def test_a_phase_that_is_under_way_is_left_alone(copy, finished, study):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        writer.write(block("edits", writer.missing()[0]))
        with pytest.raises(LockedError):
            Repair.open(copy)
    for name in ("zarr.json", "queries/rank/c/0"):
        flip(copy / name)
    repaired(copy, study)
    assert verify(copy) == []
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        assert len(writer.missing()) == 3
    assert json.loads((copy / "manifest.json").read_bytes()) == manifest.read(finished)
