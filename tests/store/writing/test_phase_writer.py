"""PhaseWriter: phases round trip, resume, and are refused with other parameters, parents or blocks."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
from synthetic import FINGERPRINT, Synthetic
from synthetic_phase import OUTCOMES, append, block, fingerprint, outline

from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline
from qloc.canonical_json import digest
from qloc.errors import FingerprintError, InputError, LockedError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.writing.phase_writer import PhaseWriter, holds_phase, write_phase_unit
from qloc.store.writing.writer import Writer

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
    for phase, groups in (
        ("interventions", ("interventions", "synapses", "synapse_views")),
        ("edits", ("edits",)),
    ):
        blocks = [block(phase, unit) for unit in study.outline().units]
        for path in blocks[0].arrays:
            group, name = path.split("/")
            got = getattr(opened, group)[name]
            axis = got.dims.index("fact" if phase == "edits" else "query")
            expected = np.concatenate([one.arrays[path] for one in blocks], axis=axis)
            np.testing.assert_array_equal(got, expected.astype(got.dtype), err_msg=path)
        for group in groups:
            assert getattr(opened, group).attrs == {"why": "a made-up phase", "threshold": 0.2}
    assert opened.interventions is not None
    assert opened.synapses is not None
    assert opened.edits is not None
    np.testing.assert_array_equal(opened.interventions["fact"], opened.queries["fact"])
    np.testing.assert_array_equal(opened.synapses["template"], opened.queries["template"])
    np.testing.assert_array_equal(opened.edits["relation"], opened.facts["relation"])
    chosen = opened.interventions["rank"].sel(relation="P36", operation="enhance", neuron_set="my söt")
    assert chosen.shape == (10,)


def test_notes_of_units_are_kept_by_phase(copy):
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:
        for unit in reversed(writer.missing()):
            writer.write(block("edits", unit), notes={"shrunk": True} if unit.number == 2 else {})
        writer.finalize()
    assert manifest.read(copy)["notes"] == {"edits/2": {"shrunk": True}}


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
    labels = {"operation": ("suppress",), "neuron_set": ("reprompt",)}
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
            shapes: dict[str, tuple[int, ...]] = dict.fromkeys(OUTCOMES, (1, 1))
            shapes["n_neurons"] = (1,)
            shapes |= dict.fromkeys(("neighbor", "other_fact", *(f"base_{name}" for name in OUTCOMES)), ())
            arrays: dict[str, Array] = {
                f"interventions/{name}": np.zeros((*of, unit.n_queries)) for name, of in shapes.items()
            }
            for place, name in enumerate(("n_neurons", "n_shared", "log_probability", "rank")):
                arrays[f"reprompts/{name}"] = np.arange(unit.first_query, unit.last_query) + place
            writer.write(PhaseBlock(unit=unit, arrays=arrays))
        writer.finalize()
    assert verify(copy) == []
    opened = open_store(copy)
    assert opened.layout.phases["interventions"].groups == ("interventions", "reprompts")
    assert opened.attrs["phases"]["interventions"]["added"] == ["reprompts"]
    n_queries = len(opened.queries["fact"])
    assert opened.reprompts is not None
    np.testing.assert_array_equal(opened.reprompts["n_shared"], 1 + np.arange(n_queries))
    np.testing.assert_array_equal(opened.reprompts["relation"], opened.queries["relation"])
    assert opened.reprompts.attrs == attrs


def test_older_phases_say_nothing_of_added_groups(copy):
    append(copy, "interventions", "synapses")
    append(copy, "edits")
    opened = open_store(copy)
    assert all(
        set(said) == {"labels", "sizes", "absent", "attrs"} for said in opened.attrs["phases"].values()
    )
    assert opened.reprompts is None
    wrong = replace(outline("edits"), added=("reprompts",))
    message = r"added groups is \['reprompts'\]; expected some of edits/bad_log_.*, edits/strength, .*, entailments\."
    with pytest.raises(InputError, match=message):
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
    holder = forked.Popen(program("hold", copy), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for phase in ("edits", "interventions"):
            with pytest.raises(LockedError):
                PhaseWriter.open(copy, outline(phase), fingerprint(phase))
        assert verify(copy) == []
        holder.kill()
    with PhaseWriter.open(copy, outline("edits"), fingerprint("edits")) as writer:  # the lock died
        assert len(writer.missing()) == 4


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


def test_store_without_facts_takes_phases(tmp_path):
    from synthetic import write_store

    empty = Synthetic(n_facts=0)
    store = write_store(tmp_path / "s.zarr", empty)
    append(store, "interventions")
    append(store, "edits")
    assert verify(store) == []
    edits = open_store(store).edits
    assert edits is not None
    assert edits.sizes["fact"] == 0
