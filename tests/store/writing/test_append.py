"""A phase appended to a complete store: round trips, refusals, and nothing lost whatever kills it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from synthetic import FINGERPRINT, Synthetic
from synthetic_phase import OUTCOMES, append, block, fingerprint, outline

from qloc.block import PhaseBlock, PhaseOutline
from qloc.canonical_json import digest
from qloc.errors import FingerprintError, InputError, LockedError, VerificationError
from qloc.store.exchange.hdf5 import export, import_hdf5
from qloc.store.exchange.pack import pack, unpack
from qloc.store.integrity.verify import verify
from qloc.store.names import CARD
from qloc.store.reading.info import info, info_text
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.writing import append as appending
from qloc.store.writing.phase_writer import PhaseWriter, holds_phase, write_phase_unit
from qloc.store.writing.writer import Writer
from qloc.workflows.exchange import diff

PROGRAM = Path(__file__).parents[1] / "support" / "killed_append.py"


def objects(store):
    return manifest.read(store)["objects"]


def program(*arguments):
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


@pytest.fixture
def own(phased, tmp_path):
    """Return a store with both phases of the test's own."""
    return Path(shutil.copytree(phased, tmp_path / "s.zarr"))


def test_round_trip(phased, study):
    opened = open_store(phased)
    for phase, groups in (("interventions", ("interventions", "synapses")), ("edits", ("edits",))):
        blocks = [block(phase, unit) for unit in study.outline().units]
        for path in blocks[0].arrays:
            group, name = path.split("/")
            got = getattr(opened, group)[name]
            axis = got.dims.index("fact" if phase == "edits" else "query")
            expected = np.concatenate([one.arrays[path] for one in blocks], axis=axis)
            np.testing.assert_array_equal(got, expected.astype(got.dtype), err_msg=path)
        for group in groups:
            assert getattr(opened, group).attrs == {"why": "a made-up phase", "threshold": 0.2}
    np.testing.assert_array_equal(opened.interventions["fact"], opened.queries["fact"])
    np.testing.assert_array_equal(opened.synapses["template"], opened.queries["template"])
    np.testing.assert_array_equal(opened.edits["relation"], opened.facts["relation"])
    chosen = opened.interventions["rank"].sel(relation="P36", operation="enhance", neuron_set="my söt")
    assert chosen.shape == (10,)


def test_what_there_was_stays_as_it_was(finished, phased):
    before, after = objects(finished), objects(phased)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"README.md", "zarr.json"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {
        "interventions",
        "synapses",
        "edits",
    }
    assert sorted(p.name for p in phased.iterdir()) == [
        "README.md", "attention", "edits", "facts", "grams", "interventions", "manifest.json", "queries",
        "signals", "statistics", "synapses", "zarr.json",
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


def test_notes_of_units_are_kept_by_phase(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        for unit in reversed(writer.missing()):
            writer.write(block("edits", unit), notes={"shrunk": True} if unit.number == 2 else {})
        writer.finalize()
    assert manifest.read(copy)["notes"] == {"edits/2": {"shrunk": True}}


def test_xarray_alone_reads_it(phased):
    text = """
import sys, xarray as xr
tree = xr.open_datatree(sys.argv[1], engine="zarr")
print(sorted(tree.groups))
for group in ("interventions", "synapses", "edits", "statistics"):
    for consolidated in (False, None):
        xr.open_zarr(sys.argv[1], group=group, consolidated=consolidated).load()
print(float(tree["interventions"]["logit"].sel(operation="suppress", neuron_set="own").isel(query=3)))
assert "qloc" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, phased], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    expected = open_store(phased).interventions["logit"].to_numpy()[0, 0, 3]
    assert done.stdout == (
        "['/', '/attention', '/edits', '/facts', '/grams', '/interventions', '/queries', '/signals', "
        f"'/statistics', '/synapses']\n{float(expected)}\n"
    )


def test_card_and_info_tell_of_phases(phased):
    card = (phased / CARD).read_text(encoding="utf-8")
    assert "| synapses | answers with attention suppressed, enhanced | 14 | " in card
    assert f"- fingerprint of edits: `{digest(fingerprint('edits'))}`\n" in card
    assert "phases" not in card
    found = info(phased)
    assert found["phases"] == {
        "interventions": {
            "operation": ["suppress", "enhance"],
            "neuron_set": ["own", "neighbor", "my söt"],
            "synapse_operation": ["suppress"],
            "synapse_set": ["published", "knowledge"],
        },
        "edits": {"edit_operation": ["erase", "update"], "edit_set": ["own", "union", "cas"]},
    }
    assert "  interventions  operation suppress, enhance; neuron_set own, neighbor, my söt; " in info_text(
        found
    )
    assert "    - effects of interventions, by operation and neuron set" in info_text(found)


def test_group_that_cannot_be_made_is_absent(copy):
    append(copy, "interventions", "synapses")
    assert verify(copy) == []
    opened = open_store(copy)
    assert opened.synapses is None
    assert opened.interventions is not None
    assert opened.layout.phases["interventions"].absent == ("synapses",)
    assert holds_phase(copy, "interventions", fingerprint("interventions"))


def test_group_is_there_only_where_the_layout_names_it(copy, study):
    """So that stores of before there was such a group open as they did."""
    labels, arrays = {"operation": ("suppress",), "neuron_set": ("reprompt",)}, {}
    attrs = {"threshold": 0.2, "reprompt": "- "}
    made = PhaseOutline(
        phase="interventions",
        labels=labels,
        sizes={},
        attrs=attrs,
        absent=("synapses",),
        added=("reprompts",),
    )
    with PhaseWriter.open(copy, made, fingerprint("interventions")) as writer:
        for unit in writer.missing():
            shapes = dict.fromkeys(OUTCOMES, (1, 1)) | {"n_neurons": (1,)}
            shapes |= dict.fromkeys(("neighbor", "other_fact", *(f"base_{name}" for name in OUTCOMES)), ())
            arrays = {f"interventions/{name}": np.zeros((*of, unit.n_queries)) for name, of in shapes.items()}
            for place, name in enumerate(("n_neurons", "n_shared", "log_probability", "rank")):
                arrays[f"reprompts/{name}"] = np.arange(unit.first_query, unit.last_query) + place
            writer.write(PhaseBlock(unit=unit, arrays=arrays))
        writer.finalize()
    assert verify(copy) == []
    opened = open_store(copy)
    assert opened.layout.phases["interventions"].groups == ("interventions", "reprompts")
    assert opened.attrs["phases"]["interventions"]["added"] == ["reprompts"]
    n_queries = len(opened.queries["fact"])
    np.testing.assert_array_equal(opened.reprompts["n_shared"], 1 + np.arange(n_queries))
    np.testing.assert_array_equal(opened.reprompts["relation"], opened.queries["relation"])
    assert opened.reprompts.attrs == attrs


def test_older_phases_say_nothing_of_added_groups(phased):
    opened = open_store(phased)
    assert all(
        set(said) == {"labels", "sizes", "absent", "attrs"} for said in opened.attrs["phases"].values()
    )
    assert opened.reprompts is None
    wrong = replace(outline("edits"), added=("reprompts",))
    with pytest.raises(InputError, match=r"added groups is \['reprompts'\]; expected some of none"):
        PhaseLayout.of(wrong, opened.layout.sizes)


def test_phase_of_which_nothing_can_be_made_is_done_all_the_same(copy):
    with PhaseWriter.open(copy, outline("edits", "edits"), fingerprint("edits")) as writer:
        assert writer.missing() == ()
        writer.finalize()
    assert holds_phase(copy, "edits", fingerprint("edits"))
    assert verify(copy) == []
    assert open_store(copy).edits is None
    assert open_store(copy).attrs["phases"]["edits"]["attrs"]["why"] == "a made-up phase"


def test_finished_phase_is_not_written_again(own, study):
    before = (own / "manifest.json").stat().st_mtime_ns
    with PhaseWriter.open(own, outline("edits"), fingerprint("edits")) as writer:
        assert writer.complete
        assert writer.missing() == ()
        writer.finalize()
    with Writer.open(own, study.outline(), FINGERPRINT) as writer:
        assert writer.complete
    assert (own / "manifest.json").stat().st_mtime_ns == before
    assert not (own / "appending").exists()


# Refusals


def test_other_fingerprint_is_refused_showing_the_difference(own):
    with pytest.raises(FingerprintError) as caught:
        PhaseWriter.open(own, outline("edits"), fingerprint("edits", alpha=3.0))
    held, asked = digest(fingerprint("edits"))[:12], digest(fingerprint("edits", alpha=3.0))[:12]
    assert str(caught.value) == (
        f"fingerprint of edits is '{held} (parameters.alpha: 2.0 → 3.0)'; expected {asked}. "
        f"At {own}. Give another --out, or the parameters that edits were made with."
    )
    with pytest.raises(FingerprintError):
        holds_phase(own, "edits", fingerprint("edits", alpha=3.0))
    assert verify(own) == []


def test_other_labels_are_refused(own):
    other = outline("edits")
    other = type(other)(**{**vars(other), "sizes": {"probe": 3, "step": 4}})
    with pytest.raises(FingerprintError, match=r"\(layout\.sizes\.probe: 2 → 3\)"):
        PhaseWriter.open(own, other, fingerprint("edits"))


def test_phase_that_was_begun_otherwise_is_refused(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        writer.write(block("edits", writer.missing()[0]))
    with pytest.raises(FingerprintError) as caught:
        PhaseWriter.open(copy, outline("edits"), fingerprint("edits", threshold=0.3))
    assert str(caught.value).endswith(
        f"At {copy}. Give the parameters that edits were made with, or remove {copy}/appending/edits, what "
        "was begun with them."
    )
    shutil.rmtree(copy / "appending" / "edits")
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits", threshold=0.3)) as writer:
        assert len(writer.missing()) == 4


def test_phase_of_another_parent_is_refused(copy):
    stranger = {**fingerprint("edits"), "parents": {"signals": digest("another")}}
    with pytest.raises(FingerprintError) as caught:
        PhaseWriter.open(copy, outline("edits"), stranger)
    assert str(caught.value) == (
        f"fingerprint of signals is '{digest(FINGERPRINT)[:12]}'; expected {digest('another')[:12]}, which "
        f"edits are to be chosen from. At {copy}. Give the store that the plan was made for."
    )
    assert not (copy / "appending").exists()


def test_unfinished_store_is_refused(tmp_path, study):
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT):
        pass
    with pytest.raises(InputError) as caught:
        PhaseWriter.open(tmp_path / "s.zarr", outline("edits"), fingerprint("edits"))
    assert str(caught.value) == (
        f"store is 'unfinished'; expected a complete store, to append a phase to. At {tmp_path}/s.zarr. "
        "Complete it first."
    )


def test_every_problem_of_an_outline_is_told_at_once(copy):
    wrong = outline("edits", "grams")
    labels = {"edit_operation": ("erase", "erase")}
    wrong = type(wrong)(**{**vars(wrong), "labels": labels, "sizes": {"step": -1}, "attrs": {"a": {1}}})
    with pytest.raises(InputError) as caught:
        PhaseWriter.open(copy, wrong, fingerprint("edits"))
    at = "At the outline of phase edits. Make outlines as qloc.block says."
    assert caught.value.problems == (
        f"absent groups is ['grams']; expected some of edits. {at}",
        f"labelled axes is ['edit_operation']; expected edit_operation, edit_set. {at}",
        f"axes with a size is ['step']; expected probe, step. {at}",
        f"labels of edit_operation is ['erase', 'erase']; expected one or more, each once, none empty. {at}",
        f"sizes is {{'step': -1}}; expected none below 0. {at}",
        f"attributes is 'Object of type set is not JSON serializable'; expected JSON. {at}",
    )


def test_every_problem_of_a_block_is_told_at_once(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        first = writer.missing()[0]
        made = block("edits", first)
        arrays = {**made.arrays, "edits/extra": np.zeros(2), "edits/n_slots": np.zeros((3, 7))}
        del arrays["edits/rank"]
        with pytest.raises(InputError) as caught:
            writer.write(type(made)(unit=first, arrays=arrays))
    at = "At the block of unit 0 of edits. Make blocks as qloc.block says."
    assert caught.value.problems == (
        f"shape of edits/extra is (2,); expected no such array. {at}",
        f"shape of edits/n_slots is (3, 7); expected shape (3, 3). {at}",
        f"shape of edits/rank is None; expected shape (2, 3, 3, 3). {at}",
    )


def test_unit_of_a_phase_that_is_not_being_appended_is_refused(copy, study):
    with pytest.raises(InputError) as caught:
        write_phase_unit(copy, "edits", block("edits", study.outline().units[0]))
    assert str(caught.value) == (
        f"phase is 'edits'; expected a phase that is being appended. At {copy}. Open a PhaseWriter first."
    )


def test_second_process_is_refused(copy):
    holder = subprocess.Popen(program("hold", copy), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"held\n"
        for phase in ("edits", "interventions"):
            with pytest.raises(LockedError):
                PhaseWriter.open(copy, outline(phase), fingerprint(phase))
        assert verify(copy) == []
        holder.kill()
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:  # the lock died
        assert len(writer.missing()) == 4


# Interruptions


def test_worker_writes_units_and_coordinator_records_them(copy, phased):
    with PhaseWriter.open(copy, outline("interventions"), fingerprint("interventions")) as writer:
        units = writer.missing()
        written = [write_phase_unit(copy, "interventions", block("interventions", unit)) for unit in units]
        with pytest.raises(InputError, match=r"^number of missing units is 4; expected 0\. "):
            writer.finalize()
        for unit in written:
            writer.record(unit)
        writer.finalize()
    append(copy, "edits")
    assert objects(copy) == objects(phased)


def test_interrupted_store_is_as_before_and_goes_on(copy, finished, phased, tmp_path):
    with PhaseWriter.open(copy, outline("interventions"), fingerprint("interventions")) as writer:
        for unit in writer.missing()[:2]:
            writer.write(block("interventions", unit))
    assert verify(copy) == []
    assert open_store(copy).interventions is None
    told = info(copy)
    assert told["appending"] == {"interventions": {"planned": 4, "written": 2}}
    assert "  interventions  being appended: 2 of 4 units" in info_text(told)
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


def test_changed_unit_file_is_named_when_finalizing(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        records = [writer.write(block("edits", unit)) for unit in writer.missing()]
        (copy / "appending/edits/units" / records[1].file).write_bytes(b"")
        with pytest.raises(VerificationError) as caught:
            writer.finalize()
    assert str(caught.value) == (
        f"unit file is '{records[1].file}'; expected sha256 {records[1].sha256}. "
        f"At {copy}/appending/edits/units. Run the same command again: the unit is redone."
    )
    assert verify(copy) == []


def test_killed_at_any_instant_it_gives_the_same_bytes(finished, phased, tmp_path):
    """SIGKILL all over two phases, and at each step that moves one in: groups, card, root, manifest."""
    done = subprocess.run(
        program("instants", finished, tmp_path, 3, 0), check=True, timeout=300, capture_output=True
    )
    told = json.loads(done.stdout)
    # Only from the first of these renames to the last is the store neither the one nor the other …
    assert told["unverified"] == ["in-1", "in-2", "in-3", "in-4"]
    # … and not even opened only where card or root are those of a manifest to come.
    assert told["unopened"] == ["in-3", "in-4"]
    stores = sorted(tmp_path.glob("*.zarr"))
    assert len(stores) == 1 + 3 + 9
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
            left = iter([Path.replace] * 3)  # two groups and the card; then the power fails
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
    with Writer.open(copy, study.outline(), FINGERPRINT) as writer:
        assert writer.complete
    assert objects(copy) == objects(phased)
    assert not (copy / "appending").exists()


# Verifying and sharing


@pytest.mark.parametrize("group", ["interventions", "synapses", "edits", "statistics"])
def test_any_flipped_bit_is_found(own, group):
    chunks = sorted(path for path in (own / group).rglob("*") if path.is_file())
    for path in chunks[:: max(1, len(chunks) // 4)]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        (problem,) = verify(own)
        assert f"{group}/" in problem
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    assert verify(own) == []


def test_problem_names_array_and_units(own):
    (own / "edits/probe_kl/c/0/0/0/0").unlink()
    (problem,) = verify(own)
    assert problem.startswith("array edits/probe_kl, facts 0 to 9 (units 0 to 3) is 'missing'; expected ")


def test_a_bit_flipped_before_is_not_made_good(copy):
    """Appending does not hash again what the manifest has: the damage would pass for the truth."""
    path = copy / "signals/attribution/c/0/0/0"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    append(copy, "edits")
    (problem,) = verify(copy)
    assert problem.startswith("array signals/attribution, queries 0 to 15 (units 0 to 3) is 'sha256 ")


def test_linked_folder_of_work_is_no_part_of_a_store(copy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (copy / "appending").symlink_to(tmp_path / "elsewhere")
    (problem,) = verify(copy)
    assert problem.startswith("object is 'extra'; ")


def test_packed_and_exported_and_back(phased, tmp_path):
    packed = pack(phased, tmp_path / "s.zarr.zip")
    opened, whole = open_store(packed), open_store(phased)
    for group in ("interventions", "synapses", "edits", "statistics"):
        assert getattr(opened, group).load().identical(getattr(whole, group).load())
    assert objects(unpack(packed, tmp_path / "u.zarr")) == objects(phased)
    exported = export(phased, tmp_path / "s.h5")
    made = import_hdf5(exported, tmp_path / "h.zarr")
    assert (made / "manifest.json").read_bytes() == (phased / "manifest.json").read_bytes()
    read = xr.open_dataset(exported, engine="h5netcdf", group="edits").load()
    np.testing.assert_array_equal(read["greedy_token_id"], whole.edits["greedy_token_id"])
    assert read["edit_set"].values.tolist() == ["own", "union", "cas"]


def test_diff_compares_phases_that_both_have(finished, phased, own, tmp_path):
    found = diff(phased, own)
    assert found["fingerprint"] == []
    assert {
        "interventions/rank",
        "synapses/n_columns",
        "edits/probe_kind",
        "statistics/activation_sum",
    } < set(found["arrays"])
    assert not any(one["n_unequal"] for one in found["arrays"].values())
    found = diff(finished, phased)
    assert [line.split(":")[0] for line in found["fingerprint"]] == ["edits", "interventions"]
    assert not any(path.startswith(("edits/", "interventions/")) for path in found["arrays"])
    other = Path(shutil.copytree(finished, tmp_path / "o.zarr"))
    with PhaseWriter.open(other, outline("edits"), fingerprint("edits")) as writer:
        for unit in writer.missing():
            writer.write(block("edits", unit, seed=1))
        writer.finalize()
    assert diff(phased, other)["arrays"]["edits/probe_kl"]["unequal"] == 1.0


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
        writer.finalize({"device": "cpu"})
    monkeypatch.undo()
    assert not (store / "statistics").exists()
    assert verify(store) == []
    assert open_store(store).statistics is None
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        assert writer.complete
    append(store, "interventions")
    assert verify(store) == []
    assert open_store(store).interventions.load().identical(open_store(phased).interventions.load())


def test_unfinished_store_of_before_goes_on_without_them(tmp_path, study, monkeypatch):
    store = tmp_path / "s.zarr"
    with monkeypatch.context() as patched:
        patched.setattr("qloc.store.schema.layout._relations", lambda outline: ())
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            writer.write(study.block(writer.missing()[0]))
            root = json.loads((store / "zarr.json").read_text())
            del root["attributes"]["layout"]["relations"]
            (store / "zarr.json").write_text(json.dumps(root))
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        writer.finalize()
    assert verify(store) == []
    assert open_store(store).statistics is None


def test_phase_of_a_later_version_is_passed_over(phased, own):
    """It is in the manifest, and verified byte by byte; what it means, this version need not know."""
    root = json.loads((own / "zarr.json").read_bytes())
    root["attributes"]["phases"]["tracing"] = {"whatever": 1}
    said = manifest.read(own)
    del said["sha256"]
    appending.write_bytes(own / "zarr.json", appending.canonical(root))
    said["objects"]["zarr.json"] = {
        "sha256": manifest.file_digest(own / "zarr.json"),
        "size": (own / "zarr.json").stat().st_size,
    }
    (own / "manifest.json").write_bytes(appending.canonical({**said, "sha256": digest(said)}))
    assert verify(own) == []
    assert open_store(own).edits.load().identical(open_store(phased).edits.load())


def test_store_without_facts_takes_phases(tmp_path):
    from synthetic import write_store

    empty = Synthetic(n_facts=0)
    store = write_store(tmp_path / "s.zarr", empty)
    append(store, "interventions")
    append(store, "edits")
    assert verify(store) == []
    assert open_store(store).edits.sizes["fact"] == 0
