"""``qloc store repair``: a damaged extraction whole again, with the model only where it is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import blocked
from typer.testing import CliRunner, Result

from qloc.canonical_json import canonical, file_digest
from qloc.cli import app
from qloc.plan import Plan
from qloc.workflows.extract import extract_study

SUBJECTS = (("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima"), ("Austria", "Vienna"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["store", "repair", *map(str, arguments)], prog_name="qloc")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with facts.jsonl and the store made of it: four units, in small shards."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")
    folder = tmp_path_factory.mktemp("extracted")
    with (folder / "facts.jsonl").open("w") as lines:
        for subject, answer in SUBJECTS:
            queries = ["The capital of [X] is [Y].", "[X] has its capital in [Y]."]
            fact = {"id": subject, "relation": "capital", "subject": subject, "object": answer}
            lines.write(json.dumps({**fact, "queries": queries, "attributes": {"count": 3}}) + "\n")
    plan = Plan(
        model="embedded:causal",
        facts=str(folder / "facts.jsonl"),
        quadrature="midpoint",
        steps=3,
        unit_facts=1,
        device="cpu",
        threads=1,
        phases=("signals",),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 2000)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 4000)
        extract_study(plan, folder / "s.zarr")
    return folder


@pytest.fixture
def damaged(extracted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(extracted / "s.zarr", tmp_path / "s.zarr"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List the units that the model runs over."""
    from qloc.extract.signals.extraction import Extraction

    found: list[int] = []
    whole = Extraction.extract

    def counted(self: Extraction, unit: object) -> object:
        found.append(unit.number)  # type: ignore[attr-defined]
        return whole(self, unit)  # type: ignore[arg-type]

    monkeypatch.setattr(Extraction, "extract", counted)
    return found


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_only_the_units_of_damaged_shards_are_extracted_again(
    damaged: Path, extracted: Path, asked: list[int]
) -> None:
    flip(damaged / "signals" / "attribution" / "c" / "0" / "1" / "0")  # queries 4 to 7, two of each fact
    (damaged / "facts" / "subject" / "c" / "0").unlink()
    flip(damaged / "facts" / "count" / "c" / "0")
    flip(damaged / "zarr.json")
    result = run(damaged, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert asked == [2, 3]
    assert result.stdout == (
        f"{damaged}: 4 objects rebuilt (2 units of signals run again); every byte is as it was written.\n"
        f"Next:\n  qloc store verify {damaged}\n  qloc analyze {damaged}\n"
    )
    assert contents(damaged) == contents(extracted / "s.zarr")


def test_metadata_card_and_labels_need_no_torch(damaged: Path, extracted: Path) -> None:
    for path in [*damaged.rglob("zarr.json"), damaged / "README.md"]:
        path.unlink()
    shutil.rmtree(damaged / "signals" / "attribution_method")
    (damaged / "mine.txt").write_text("mine")
    done = blocked("store", "repair", damaged)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    assert first == f"Moved: {damaged}.removed/mine.txt, which was no part of the store."
    assert second.endswith(" objects rebuilt; every byte is as it was written.")
    assert contents(damaged) == contents(extracted / "s.zarr")
    sound = run(damaged)
    assert sound.exit_code == 0
    assert sound.stdout.startswith(f"{damaged}: every byte is as it was written.\n")
    flip(damaged / "queries" / "rank" / "c" / "0")
    done = blocked("store", "repair", damaged)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: package torch is 'missing'; ")


def test_other_facts_are_refused_with_the_difference(damaged: Path, extracted: Path, tmp_path: Path) -> None:
    flip(damaged / "queries" / "rank" / "c" / "0")
    before = contents(damaged)
    lines = (extracted / "facts.jsonl").read_text().splitlines()
    (tmp_path / "other.jsonl").write_text("\n".join(lines[1:]) + "\n")
    result = run(damaged, "--facts", tmp_path / "other.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: fingerprint of signals is ")
    assert "(facts: " in result.stderr
    assert contents(damaged) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.jsonl", "s.zarr"]
    moved = shutil.copy(extracted / "facts.jsonl", tmp_path / "moved.jsonl")
    assert run(damaged, "--facts", moved, "--device", "cpu", "--quiet").output == ""
    assert contents(damaged) == contents(extracted / "s.zarr")


def test_numbers_of_another_device_exit_3(
    damaged: Path, extracted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device rounds otherwise: a gradient that is changed in its last bits stands for it."""
    from dataclasses import replace

    from qloc.extract.signals.extraction import Extraction

    whole = Extraction.extract

    def elsewhere(self: Extraction, unit: object) -> object:
        block = whole(self, unit)  # type: ignore[arg-type]
        return replace(block, gradient=block.gradient * 1.000001)

    monkeypatch.setattr(Extraction, "extract", elsewhere)
    name = "signals/gradient/c/0/0"
    flip(damaged / name)
    refused = run(damaged, "--device", "cpu", "--quiet")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert refused.stderr.startswith("Error: array signals/gradient, queries 0 to ")
    assert refused.stderr.endswith(
        "Repair where it was made (the manifest's run says on what), or add --accept.\n"
    )
    taken = run(damaged, "--device", "cpu", "--accept")
    assert taken.exit_code == 0, taken.output
    assert taken.stdout.startswith("Accepted with other bytes, as the manifest says now: ")
    verified = CliRunner().invoke(app, ["store", "verify", str(damaged)])
    assert verified.exit_code == 0
    told = json.loads((damaged / "manifest.json").read_bytes())["run"]["repairs"]
    assert name in told[0]["objects"]
    assert told[0]["environment"]["device"] == "cpu"
    assert set(told[0]) == {"qloc", "repaired", "environment", "objects", "units"}


def test_a_lost_manifest_exits_3_and_a_planted_store_has_no_model(damaged: Path, tmp_path: Path) -> None:
    from qloc.simulation.simulate import simulate

    flip(damaged / "manifest.json")
    lost = run(damaged)
    assert (lost.exit_code, lost.stdout) == (3, "")
    assert "nothing can be repaired without it" in lost.stderr
    simulate(tmp_path / "planted.zarr", facts=6, relations=2, templates=3, seed=1)
    flip(tmp_path / "planted.zarr" / "queries" / "rank" / "c" / "0")
    planted = run(tmp_path / "planted.zarr")
    assert (planted.exit_code, planted.stdout) == (2, "")
    assert planted.stderr == (
        "Error: store is 'made without a model'; expected an extraction's, which can be repeated. "
        f"At {tmp_path / 'planted.zarr'}. Make the store again as it was made.\n"
    )


def test_parameters_of_another_form_are_told(tmp_path: Path) -> None:
    """What a stranger's fingerprint may have in it; its damaged facts would be read again by them."""
    from qloc.simulation.simulate import simulate
    from qloc.store.schema import manifest

    store = tmp_path / "s.zarr"
    simulate(store, facts=6, relations=2, templates=3, seed=1)
    root = json.loads((store / "zarr.json").read_bytes())
    root["attributes"] |= {
        "model": "x",
        "fingerprint": {"signals": {"digest": "x", "made_from": {"parameters": []}}},
    }
    listed = manifest.read(store)
    (store / "zarr.json").write_bytes(canonical(root))
    entry = {"sha256": file_digest(store / "zarr.json"), "size": (store / "zarr.json").stat().st_size}
    listed["objects"]["zarr.json"], listed["metadata"] = entry, root
    manifest.replace(store, {key: value for key, value in listed.items() if key != "sha256"})
    flip(store / "queries" / "rank" / "c" / "0")
    told = run(store)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.startswith('Error: parameters in the fingerprint is "of another form (TypeError: ')
    assert told.stderr.endswith(
        f"expected as qloc writes them. At {store}. Take the store from its source again.\n"
    )


def test_an_extraction_with_every_unit_is_completed(extracted: Path, tmp_path: Path) -> None:
    from qloc.store.writing.writer import Writer

    def dies(self: Writer, run: object = None) -> None:
        raise KeyboardInterrupt

    facts = str(extracted / "facts.jsonl")
    plan = Plan(
        model="embedded:causal",
        facts=facts,
        quadrature="midpoint",
        steps=3,
        unit_facts=1,
        device="cpu",
        threads=1,
        phases=("signals",),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Writer, "finalize", dies)
        with pytest.raises(KeyboardInterrupt):
            extract_study(plan, tmp_path / "s.zarr")
    done = blocked("store", "repair", tmp_path / "s.zarr")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"{tmp_path / 's.zarr'}: every unit was there; the store is complete now.\n"
    )
    extract_study(plan, tmp_path / "whole.zarr")
    one, other = contents(tmp_path / "s.zarr"), contents(tmp_path / "whole.zarr")
    del one["manifest.json"], other["manifest.json"]  # it says how and when
    assert one == other
