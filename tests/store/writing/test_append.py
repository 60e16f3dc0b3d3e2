"""Appending: what the store had stays as it was, and nothing is lost whatever kills it."""

import json
import shutil
import sys
from pathlib import Path

import forked
import pytest
from synthetic import FINGERPRINT
from synthetic_phase import append, block, fingerprint, outline

from qloc.canonical_json import canonical
from qloc.errors import LockedError, VerificationError
from qloc.store.exchange.hdf5 import export, import_hdf5
from qloc.store.exchange.pack import pack
from qloc.store.integrity.check import layout_of
from qloc.store.integrity.verify import verify
from qloc.store.reading.info import info, info_text
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.writing import append as appending
from qloc.store.writing.phase_writer import PhaseWriter
from qloc.store.writing.writer import Writer

PROGRAM = Path(__file__).parents[1] / "support" / "killed_append.py"


def objects(store):
    return manifest.read(store)["objects"]


def program(*arguments):
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


def test_what_there_was_stays_as_it_was(finished, phased):
    before, after = objects(finished), objects(phased)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"README.md", "zarr.json"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {
        "interventions",
        "synapses",
        "synapse_views",
        "edits",
    }
    assert sorted(p.name for p in phased.iterdir()) == [
        "README.md", "attention", "edits", "facts", "grams", "interventions", "manifest.json", "neurons",
        "queries", "signals", "statistics", "synapse_views", "synapses", "zarr.json",
    ]  # fmt: skip
    assert verify(phased) == []


def test_order_of_phases_does_not_change_a_byte(finished, phased, tmp_path):
    store = Path(shutil.copytree(finished, tmp_path / "s.zarr"))
    append(store, "edits")
    append(store, "interventions")
    assert objects(store) == objects(phased)


def test_manifest_keeps_what_every_run_said(finished, phased):
    first, said = manifest.read(finished), manifest.read(phased)
    versions = said["libraries"]
    assert said["run"] == {
        "device": "cpu",
        "phases": {phase: {"device": "cpu", "libraries": versions} for phase in ("edits", "interventions")},
    }
    assert said["metadata"] == json.loads((phased / "zarr.json").read_bytes())
    changed = {"objects": 0, "metadata": 0, "sha256": 0}
    assert {**said, "run": first["run"], **changed} == {**first, **changed}


def test_interrupted_store_is_as_before_and_goes_on(copy, finished, phased, tmp_path):
    with PhaseWriter.open(copy, outline("interventions"), fingerprint("interventions")) as writer:
        for unit in writer.missing()[:2]:
            writer.write(block("interventions", unit))
    assert verify(copy) == []
    assert open_store(copy).interventions is None
    told = info(copy)
    assert told["appending"] == {"interventions": {"planned": 4, "written": 2}}
    assert "  interventions being appended: 2 of 4 units" in info_text(told)
    assert told["bytes"] == info(finished)["bytes"]
    packed = pack(copy, tmp_path / "p.zarr.zip")
    assert packed.read_bytes() == pack(finished, tmp_path / "f.zarr.zip").read_bytes()
    exported = import_hdf5(export(copy, tmp_path / "s.h5"), tmp_path / "h.zarr")
    assert objects(exported) == objects(finished)
    flipped = sorted((copy / "appending/interventions/units").iterdir())[0]
    content = bytearray(flipped.read_bytes())
    content[-900] ^= 1
    flipped.write_bytes(content)
    (copy / "appending/interventions/ledger/0.partial").write_bytes(b"half")
    assert append(copy, "interventions") == 1  # the flipped unit is redone
    append(copy, "edits")
    assert objects(copy) == objects(phased)


def test_killed_at_any_instant_it_gives_the_same_bytes(finished, phased, tmp_path):
    """SIGKILL all over two phases, and at each step that moves one in: groups, card, root, manifest."""
    done = forked.run(
        program("instants", finished, tmp_path, 2, 0), check=True, timeout=300, capture_output=True
    )
    told = json.loads(done.stdout)
    # Only from the first of these renames to the last is the store neither the one nor the other …
    assert told["unverified"] == ["in-1", "in-2", "in-3", "in-4", "in-5"]
    # … and not even opened only where card or root are those of a manifest to come.
    assert told["unopened"] == ["in-4", "in-5"]
    stores = sorted(tmp_path.glob("*.zarr"))
    assert len(stores) == 1 + 2 + 10
    for store in stores:
        assert objects(store) == objects(phased), store
        assert verify(store) == []
        assert not (store / "appending").exists()


def test_extraction_run_again_takes_up_what_was_decided(copy, phased, study, monkeypatch):
    """Also a run that does not ask for the phase, such as of signals alone."""
    append(copy, "edits")
    move_in = appending._move_in

    def cut_off(store, commit):
        with monkeypatch.context() as patched:
            left = iter([Path.replace] * 4)  # three groups and the card; then the power fails
            patched.setattr(Path, "replace", lambda path, target: next(left)(path, target))
            move_in(store, commit)

    with PhaseWriter.open(copy, outline("interventions"), fingerprint("interventions")) as writer:
        for unit in writer.missing():
            writer.write(block("interventions", unit))
        with monkeypatch.context() as patched:
            patched.setattr(appending, "_move_in", cut_off)
            with pytest.raises(StopIteration):
                writer.finalize({"device": "cpu"})
    with pytest.raises(VerificationError):
        open_store(copy)
    with Writer.open(copy, study.outline(), FINGERPRINT) as again:
        assert again.complete
    assert objects(copy) == objects(phased)
    assert not (copy / "appending").exists()


def test_a_bit_flipped_before_is_not_made_good(copy):
    """Appending does not hash again what the manifest has: the damage would pass for the truth."""
    path = copy / "signals/attribution/c/0/0/0"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    append(copy, "edits")
    (problem,) = verify(copy)
    assert problem.startswith("array signals/attribution, queries 0 to 15 (units 0 to 3) is 'sha256 ")


def test_nothing_comes_late_where_a_phase_fails(late, copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        for unit in writer.missing():
            writer.write(block("edits", unit))
        late(copy / "appending" / "edits" / "assembled" / "zarr.json", writer.finalize)
        assert verify(copy) == []
        writer.finalize()
    assert verify(copy) == []


@pytest.fixture
def begun(copy):
    """Return a store in which the phase edits was begun."""
    layout = PhaseLayout.of(outline("edits"), layout_of(copy).sizes)
    appending.begin(copy, layout, {"digest": "d", "made_from": {}}, {"why": "a test"})
    return copy


def test_a_phase_counts_as_begun_with_its_description(begun):
    assert appending.under_way(begun) == {
        "edits": {
            "attrs": {"why": "a test"},
            "fingerprint": {"digest": "d", "made_from": {}},
            "layout": PhaseLayout.of(outline("edits"), layout_of(begun).sizes).attrs(),
        }
    }
    assert not appending.is_appended(begun, "edits")
    folder = appending.folder_of(begun, "edits")
    assert sorted(path.name for path in folder.iterdir()) == ["ledger", "phase.json", "units"]
    (folder / "phase.json").write_bytes(b"half")
    assert appending.under_way(begun) == {}


def test_a_description_that_was_damaged_is_written_again_with_the_folders(begun, tmp_path):
    """Sealed as it stands, a flipped bit would be in the groups' attributes; of empty folders, some copies lack."""
    folder = appending.folder_of(begun, "edits")
    whole = (folder / "phase.json").read_bytes()
    (folder / "phase.json").write_bytes(whole.replace(b"a test", b"a tesu"))
    (folder / "units").rmdir()
    layout = PhaseLayout.of(outline("edits"), layout_of(begun).sizes)
    description = appending.begin(begun, layout, {"digest": "d", "made_from": {}}, {"why": "a test"})
    assert (folder / "phase.json").read_bytes() == whole == canonical(description)
    assert (folder / "units").is_dir()
    (folder / "phase.json").write_bytes(b"half")  # whose units these are is not known any more
    lock = appending.hold_store(begun)
    appending.recover(begun)
    appending.give_back(begun, lock)
    assert not folder.exists()


def test_the_root_that_a_phase_is_added_to_is_that_of_the_manifest(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        for unit in writer.missing():
            writer.write(block("edits", unit))
        root = copy / "zarr.json"
        root.write_bytes(root.read_bytes().replace(b'"floor":0.05', b'"floor":0.04'))
        writer.finalize()
    assert verify(copy) == []
    assert layout_of(copy).floor == 0.05


def test_recovering_keeps_what_was_begun_and_removes_what_was_not(begun):
    other = appending.folder_of(begun, "interventions") / "units"
    other.mkdir(parents=True)  # killed before its description was written
    lock = appending.hold_store(begun)
    appending.recover(begun)
    assert not other.parent.exists()
    assert [*appending.under_way(begun)] == ["edits"]
    appending.give_back(begun, lock)
    assert (begun / "appending/edits").is_dir()
    appending.tidy(begun)  # nothing to do
    assert [*appending.under_way(begun)] == ["edits"]


def test_sweeping_removes_what_is_half_done(begun):
    folder = appending.folder_of(begun, "edits")
    (folder / "assembled/edits").mkdir(parents=True)
    for litter in ("ab.partial", "units/ab.partial", "ledger/unit-000000.json"):
        (folder / litter).write_bytes(b"half")
    assert appending.sweep_phase(begun, "edits") == {}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert names == ["ledger", "phase.json", "units"]


def test_the_lock_keeps_others_out_and_leaves_no_folder(copy):
    lock = appending.take_lock(copy)
    assert lock is not None
    with pytest.raises(LockedError) as caught:
        appending.hold_store(copy)
    assert str(caught.value) == (
        f"store is 'locked'; expected no other process writing it. At {copy}. Wait for it to end, or stop it."
    )
    appending.give_back(copy, lock)
    assert not (copy / "appending").exists()


def test_layout_with_a_phase_has_its_arrays(finished):
    layout = layout_of(finished)
    phase = PhaseLayout.of(outline("edits"), layout.sizes)
    both = appending.with_phase(layout, phase)
    assert both.variables() == (*layout.variables(), *phase.variables())
    assert both.of_signals == layout
