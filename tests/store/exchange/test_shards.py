"""Shards of a plan, merged: the bytes of one machine's store, phases too; wrong sets of shards are refused by name."""

import shutil
from pathlib import Path

import pytest
from synthetic import FINGERPRINT
from synthetic_phase import block, fingerprint, outline

from qloc.block import Shard
from qloc.errors import FingerprintError, InputError
from qloc.store.exchange.merge import merge
from qloc.store.integrity.verify import verify
from qloc.store.reading.info import info
from qloc.store.schema import manifest
from qloc.store.units import ledger
from qloc.store.writing.phase_writer import PhaseWriter
from qloc.store.writing.writer import Writer

N = 3
LATER = ("interventions", "edits")


def run(number: int, device: str = "cpu") -> dict[str, object]:
    when = {"started": f"2026-01-0{number}", "ended": f"2026-01-0{number + 1}"}
    return {"qloc": "1", "environment": {"torch": "2", "device": device}, **when}


def shard(path, study, number, fingerprint=FINGERPRINT):
    with Writer.open(path, study.outline(), fingerprint, shard=Shard(number=number, of=N)) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        writer.finalize(run(number))
    return path


def with_phase(path, number, phase, leave_out=0, **parameters):
    part = Shard(number=number, of=N)
    with PhaseWriter.of_shard(path, outline(phase), fingerprint(phase, **parameters), part) as writer:
        for unit in writer.missing()[leave_out:]:
            writer.write(block(phase, unit))
        if not leave_out:
            writer.finalize(run(number, "cpu" if number == 1 else "cuda:0"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, study):
    """Return the stores of three shards with all phases, which no test may change."""
    folder = tmp_path_factory.mktemp("shards")
    paths = [shard(folder / f"{number}.zarr", study, number) for number in range(1, N + 1)]
    for number, path in enumerate(paths, 1):
        for phase in LATER:
            with_phase(path, number, phase)
    return paths


def copied(path: Path, to: Path) -> Path:
    return Path(shutil.copytree(path, to))


def test_shards_of_all_phases_make_the_store_of_one_machine(made, phased, tmp_path):
    assert [sorted(unit.number for unit in ledger.records(path)) for path in made] == [[0, 3], [1], [2]]
    merged = merge(made, tmp_path / "out.zarr")
    assert (merged.units, merged.planned, merged.phases, merged.complete) == (
        4,
        4,
        dict.fromkeys(LATER, 0),
        True,
    )
    got = manifest.read(merged.path)
    assert got["objects"] == manifest.read(phased)["objects"]
    assert verify(merged.path) == []
    environment = {"torch": "2", "device": "cpu"}
    times = {"started": "2026-01-01", "ended": "2026-01-04"}
    expected = {"qloc": "1", "environment": environment, "merged stores": N, **times}
    assert {name: got["run"][name] for name in expected} == expected
    assert got["run"]["phases"]["edits"]["environment"] == {"torch": "2", "device": "cpu | cuda:0"}
    assert merged.mixed == {}
    assert sorted(path.name for path in made[0].iterdir()) == [
        "appending",
        "facts",
        "ledger",
        "units",
        "zarr.json",
    ]


def test_signals_alone_are_merged_first(study, finished, tmp_path):
    paths = [shard(tmp_path / f"{number}.zarr", study, number) for number in range(1, N + 1)]
    assert info(paths[0])["units"] == {"planned": 4, "written": 2}
    merged = merge(paths, tmp_path / "out.zarr")
    assert (merged.phases, merged.complete) == ({}, True)
    assert manifest.read(merged.path)["objects"] == manifest.read(finished)["objects"]


def test_missing_shards_doubles_and_strangers_are_refused_by_name(made, study, tmp_path):
    again, whole = copied(made[0], tmp_path / "again.zarr"), tmp_path / "whole.zarr"
    with Writer.open(whole, study.outline(), FINGERPRINT):
        pass
    other = tmp_path / "other.zarr"
    with Writer.open(other, study.outline(), FINGERPRINT, shard=Shard(number=1, of=2)):
        pass
    with pytest.raises(InputError) as caught:
        merge([made[0], again, whole, other], tmp_path / "out.zarr")
    assert caught.value.problems == (
        f"shard is '1/3, twice'; expected each once. At {made[0]} and {again}. Leave one of them out.",
        f"store is 'of no shard'; expected a shard of 3, as others are. At {whole}. Leave it out.",
        f"store is 'shard 1/2'; expected a shard of 3, as others are. At {other}. Leave it out.",
        "shard is '2/3, 3/3, missing'; expected all 3. At qloc store merge. Give its store too.",
    )
    with pytest.raises(InputError, match=r"^shard is '1/3, twice'"):
        merge([*made, made[0]], tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_shards_of_other_plans_are_refused(made, study, tmp_path):
    strange = shard(tmp_path / "3.zarr", study, 3, {**FINGERPRINT, "model": "another"})
    with pytest.raises(FingerprintError, match=r"^fingerprint is .*model: .* → 'another'"):
        merge([*made[:2], strange], tmp_path / "out.zarr")
    other = copied(made[2], tmp_path / "other.zarr")
    shutil.rmtree(other / "appending" / "edits")
    with_phase(other, 3, "edits", threshold=0.3)
    with pytest.raises(FingerprintError, match=r"^fingerprint of edits is \".*threshold: 0\.2 → 0\.3\""):
        merge([*made[:2], other], tmp_path / "out.zarr")


def test_unfinished_shards_make_a_store_that_one_machine_completes(made, phased, tmp_path):
    first = copied(made[0], tmp_path / "1.zarr")
    shutil.rmtree(first / "appending" / "edits")
    with_phase(first, 1, "edits", leave_out=1)
    merged = merge([first, *made[1:]], tmp_path / "out.zarr")
    assert (merged.phases, merged.complete) == ({"interventions": 0, "edits": 1}, False)
    assert verify(merged.path) == []
    with PhaseWriter.open(merged.path, outline("edits"), fingerprint("edits")) as writer:
        (unit,) = writer.missing()
        writer.write(block("edits", unit))
        writer.finalize()
    assert manifest.read(merged.path)["objects"] == manifest.read(phased)["objects"]
    (record,) = (unit for unit in ledger.records(first) if unit.number == 3)
    (first / "units" / record.file).unlink()
    with pytest.raises(InputError) as caught:
        merge([first, *made[1:]], tmp_path / "again.zarr")
    assert str(caught.value) == (
        "number of missing units is '1'; expected 0 where shards have later phases already. At signals of these "
        "shards. Run the qloc extract command of that shard."
    )


def test_a_store_is_for_one_shard(made, study, tmp_path):
    first, rest = copied(made[0], tmp_path / "1.zarr"), (study.outline(), FINGERPRINT)
    with pytest.raises(InputError) as caught:
        Writer.open(first, *rest)
    assert str(caught.value) == (
        f"store is 'for shard 1/3'; expected for a whole extraction. At {first}. Add --shard 1/3, or give another --out."
    )
    with pytest.raises(InputError, match=r"^store is 'for shard 1/3'; expected for shard 2/3\. "):
        Writer.open(first, *rest, shard=Shard(number=2, of=3))
    with pytest.raises(InputError, match=r"^store is 'for shard 1/3'; expected for shard 1/2\. "):
        PhaseWriter.of_shard(first, outline("edits"), fingerprint("edits"), Shard(number=1, of=2))
    whole = tmp_path / "whole.zarr"
    with Writer.open(whole, *rest) as writer:
        writer.write(study.block(writer.missing()[0]))
    with pytest.raises(InputError, match=r"^store is 'for a whole extraction'; expected for shard 2/3\. "):
        Writer.open(whole, *rest, shard=Shard(number=2, of=3))


def test_complete_stores_are_no_shards(copy, study):
    with pytest.raises(
        InputError, match=r"^store is 'complete'; expected the store of shard 1/3, or nothing yet\. "
    ):
        Writer.open(copy, study.outline(), FINGERPRINT, shard=Shard(number=1, of=3))
    with pytest.raises(
        InputError, match=r"^store is 'complete or moved'; expected the unfinished store of shard 1/3"
    ):
        PhaseWriter.of_shard(copy, outline("edits"), fingerprint("edits"), Shard(number=1, of=3))
