"""Damage: what differs from the manifest is found; metadata are rebuilt and strange files moved out."""

import os
import shutil

import pytest

from qloc.canonical_json import canonical, digest
from qloc.errors import VerificationError
from qloc.store.integrity.verify import verify
from qloc.store.repair.damage import Damage, manifest_of
from qloc.store.repair.whole_store import Repair
from qloc.store.schema import manifest


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


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


def test_what_is_no_part_of_the_store_is_moved_beside_it(damaged, cut, study, tmp_path):
    for name in ("queries/rank/c/99", "mine.txt", "abcd.partial"):
        (damaged / name).write_bytes(name.encode())
    os.symlink("/etc/hostname", damaged / "facts" / "link")
    (damaged / "ledger").mkdir()
    (damaged / "ledger" / "lock").touch()
    assert verify(damaged)
    done, _ = repaired(damaged, study)
    aside = tmp_path / "s.zarr.removed"
    assert sorted(done.set_aside) == [
        aside / name for name in ("facts/link", "mine.txt", "queries/rank/c/99")
    ]
    assert (aside / "mine.txt").read_bytes() == b"mine.txt"
    assert contents(damaged) == contents(cut)
    (damaged / "mine.txt").write_bytes(b"another")  # nothing there is written over
    done, _ = repaired(damaged, study)
    assert done.set_aside == (aside / "mine.txt.1",)
    assert (aside / "mine.txt").read_bytes() == b"mine.txt"


def test_without_a_manifest_nothing_is_touched(damaged):
    flip(damaged / "manifest.json")
    flip(damaged / "queries/rank/c/0")
    before = contents(damaged)
    with pytest.raises(VerificationError) as caught:
        Repair.open(damaged)
    assert caught.value.problems[-1] == (
        "manifest is 'damaged'; expected readable: it alone says what the other objects were, so nothing can be "
        f"repaired without it. At {damaged / 'manifest.json'}. "
        "Take manifest.json from a copy, an archive or an export of this store, or extract again."
    )
    assert contents(damaged) == before


def test_an_early_manifest_has_no_metadata(damaged, cut, study):
    """Then a child's metadata come from the root, and a root that is lost is said to be."""
    found = manifest.read(damaged)
    del found["metadata"]
    manifest.replace(damaged, found)
    flip(damaged / "queries/rank/zarr.json")
    done, _ = repaired(damaged, study)
    assert done.objects == ("queries/rank/zarr.json",)
    assert verify(damaged) == []
    flip(damaged / "zarr.json")
    with pytest.raises(VerificationError) as caught:
        Repair.open(damaged)
    assert str(caught.value) == (
        "metadata is 'damaged, and not in the manifest'; "
        f"expected one with sha256 {found['objects']['zarr.json']['sha256']}. At {damaged / 'zarr.json'}. "
        "Take this object from the store's source again."
    )
    assert [path.name for path in damaged.parent.iterdir()] == ["s.zarr"]


def test_the_manifest_has_all_metadata(cut):
    import json

    found = manifest.read(cut)["metadata"]
    assert canonical(found) == (cut / "zarr.json").read_bytes()
    listed = found["consolidated_metadata"]["metadata"]
    assert sorted(listed) == sorted(
        p.parent.relative_to(cut).as_posix() for p in cut.rglob("*/zarr.json") if p.parent != cut
    )
    for name, entry in listed.items():
        own = json.loads((cut / name / "zarr.json").read_bytes())
        assert own == {key: value for key, value in entry.items() if key != "consolidated_metadata"}
        assert digest(own) == manifest.read(cut)["objects"][f"{name}/zarr.json"]["sha256"]


def test_damage_is_what_differs_from_the_manifest(damaged, cut):
    listed = manifest_of(damaged)
    assert listed == manifest.read(cut)
    assert Damage(damaged, listed).objects == []
    flip(damaged / "queries/rank/c/0")
    os.truncate(damaged / "grams/zarr.json", 5)
    (damaged / "README.md").unlink()
    (damaged / "facts/id/c/0").unlink()
    (damaged / "facts/id/c/0").mkdir()
    (damaged / "mine.txt").touch()  # no object of the manifest
    expected = ["README.md", "facts/id/c/0", "grams/zarr.json", "queries/rank/c/0"]
    assert sorted(Damage(damaged, listed).objects) == expected
    damage = Damage.repaired(damaged, listed)
    assert sorted(damage.objects) == ["README.md", "facts/id/c/0", "queries/rank/c/0"]
    assert damage.rebuilt == ["grams/zarr.json"]
    assert damage.set_aside == [damaged.with_name("s.zarr.removed") / "mine.txt"]
    assert (damaged / "grams/zarr.json").read_bytes() == (cut / "grams/zarr.json").read_bytes()


@pytest.mark.parametrize("obstacle", ["nothing", "a folder", "a link", "a missing parent"])
def test_an_object_takes_its_place_whatever_is_there(damaged, obstacle):
    name = "facts/id/c/0"
    target, damage = damaged / name, Damage(damaged, manifest.read(damaged))
    target.unlink()
    if obstacle == "a folder":
        target.mkdir()
        (target / "inside").write_bytes(b"kept")
    elif obstacle == "a link":
        target.symlink_to("/etc/hostname")
    elif obstacle == "a missing parent":
        shutil.rmtree(damaged / "facts/id")
    damage.place(name, b"content")
    assert target.read_bytes() == b"content"
    assert not target.is_symlink()
    aside = damaged.with_name("s.zarr.removed") / name
    assert damage.set_aside == ([aside] if obstacle in ("a folder", "a link") else [])
    if obstacle == "a folder":
        assert (aside / "inside").read_bytes() == b"kept"
