"""The record of a skeleton: what an unfinished store has besides units is checked, and written again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import FINGERPRINT, Synthetic

from qloc.canonical_json import canonical
from qloc.errors import VerificationError
from qloc.store.integrity.skeleton_record import SkeletonRecord, begun_layout, require_sound
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.writing.roll_forward import roll_forward
from qloc.store.writing.writer import Writer, write_unit

SUBJECTS = "facts/subject/c/0"


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def begun(tmp_path: Path, study: Synthetic) -> Path:
    """Return a store of the test's own with one unit of four."""
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT) as writer:
        writer.write(study.block(writer.missing()[0]))
    return tmp_path / "s.zarr"


def skeleton(store: Path) -> dict[str, bytes]:
    paths = (path for path in store.rglob("*") if path.is_file() and path.suffix != ".npz")
    made = {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}
    return made | {"zarr.json": canonical(json.loads(made["zarr.json"]))}  # the root's bytes are settled last


def flipped(name: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        content = bytearray((store / name).read_bytes())
        content[len(content) // 2] ^= 1
        (store / name).write_bytes(content)

    return damage


def lost(name: str) -> Callable[[Path], None]:
    return lambda store: shutil.rmtree(store / name) if (store / name).is_dir() else (store / name).unlink()


def linked(name: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        (store / name).rename(store.parent / "elsewhere")
        (store / name).symlink_to(store.parent / "elsewhere")

    return damage


def other_attribute(store: Path) -> None:
    """Change what says nothing of the fingerprint, so that no comparison of parameters finds it."""
    root = json.loads((store / "zarr.json").read_bytes())
    root["attributes"]["excluded"]["words after [Y]"] = 3
    (store / "zarr.json").write_bytes(canonical(root))


DAMAGE = {
    "a chunk lost": (lost(SUBJECTS), [SUBJECTS]),
    "a chunk flipped": (flipped(SUBJECTS), [SUBJECTS]),
    "a chunk a link": (linked(SUBJECTS), [SUBJECTS]),
    "metadata of a group": (flipped("facts/zarr.json"), ["facts/zarr.json"]),
    "metadata of an array": (lost("facts/id/zarr.json"), ["facts/id/zarr.json"]),
    "a root attribute": (other_attribute, ["zarr.json"]),
    "the root unreadable": (lambda store: (store / "zarr.json").write_bytes(b"{"), ["zarr.json"]),
    "the root lost": (lost("zarr.json"), ["zarr.json"]),
    "the record": (flipped("ledger/skeleton.json"), ["ledger/skeleton.json"]),
    "no record, as of older versions": (lost("ledger/skeleton.json"), ["ledger/skeleton.json"]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_made_good_on_resuming(begun: Path, study: Synthetic, kind: str) -> None:
    damage, names = DAMAGE[kind]
    before = skeleton(begun)
    damage(begun)
    if names != ["ledger/skeleton.json"]:
        with pytest.raises(VerificationError, match=f"object {names[0]} is 'damaged or missing'"):
            require_sound(begun)
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 3  # the unit is kept
        assert writer.restored == names
    assert skeleton(begun) == before
    require_sound(begun)


def test_damage_between_resuming_and_finalizing_is_not_sealed(
    begun: Path, study: Synthetic, finished: Path
) -> None:
    """Nor is what other programs leave in folders; what they leave out is made again."""
    shutil.rmtree(begun / "units")
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        flipped(SUBJECTS)(begun)
        other_attribute(begun)
        with pytest.raises(VerificationError, match=r"object zarr\.json is 'damaged or missing'"):
            write_unit(begun, study.blocks()[0])
        for name in (".DS_Store", "facts/.DS_Store", "facts/id/c/7"):
            (begun / name).write_bytes(b"not ours")
        writer.finalize({"device": "cpu"})
        assert writer.restored == ["zarr.json", SUBJECTS]
    assert manifest.read(begun)["objects"] == manifest.read(finished)["objects"]
    assert verify(begun) == []
    aside = begun.parent / "s.zarr.removed"
    assert (aside / ".DS_Store").read_bytes() == (aside / "facts" / ".DS_Store").read_bytes() == b"not ours"


def test_without_a_plan_damage_is_told(begun: Path, study: Synthetic) -> None:
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
    lost(SUBJECTS)(begun)
    expected = (
        f"object {SUBJECTS} is 'damaged or missing'; expected as it was written. At {begun / SUBJECTS}. "
        "Run the qloc extract command that began the store: it writes this again from the plan."
    )
    for refused in (open_store, lambda store: roll_forward(store, {})):
        with pytest.raises(VerificationError) as caught:
            refused(begun)
        assert str(caught.value) == expected
    assert not (begun / "manifest.json").exists()


def test_a_ledger_that_is_lost_is_begun_again(begun: Path, study: Synthetic) -> None:
    shutil.rmtree(begun / "ledger")
    with Writer.open(begun, study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4
        assert not list((begun / "units").iterdir())


def test_consolidated_metadata_are_no_damage(begun: Path) -> None:
    """A kill between the root's metadata and the manifest leaves them; readers may come at that moment."""
    root = json.loads((begun / "zarr.json").read_bytes())
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {}}
    (begun / "zarr.json").write_bytes(canonical(root))
    require_sound(begun)
    assert begun_layout(begun).sizes["fact"] == 10


@pytest.mark.parametrize(
    "content", [[], {"objects": {"../up": {"sha256": "", "size": 0}}, "root": {}}, {"objects": 1, "root": {}}]
)
def test_a_record_of_another_form_is_none(tmp_path: Path, content: object) -> None:
    os.makedirs(tmp_path / "ledger")
    (tmp_path / "ledger" / "skeleton.json").write_bytes(canonical(content))
    assert SkeletonRecord.read(tmp_path) is None
