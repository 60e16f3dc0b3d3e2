"""Rebuilding one object: its cells from unit files, against the whole array; the bytes that zarr wrote."""

import pytest
from synthetic import Synthetic

from qloc.errors import VerificationError
from qloc.store.integrity.verify import verify
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


def repaired_elsewhere(store, other, accept=None):
    with Repair.open(store) as repair:
        (stage,) = repair.stages
        units = stage.units
        for unit in units:
            stage.put(other.block(unit))
        repair.settle(stage, accept)
        return repair.finish(), units


def test_panels_that_do_not_fit_are_refused_untouched(damaged, cut):
    """A seed stands for a device that gives larger panels."""
    flip(damaged / "queries/rank/c/0")
    before = contents(damaged)
    with pytest.raises(VerificationError) as caught:
        repaired_elsewhere(damaged, Synthetic(seed=1), {"device": "another"})
    assert str(caught.value).startswith("panel of unit ")
    assert str(caught.value).endswith(
        f"slots. At {damaged}. Repair where it was made (the manifest's run says on what), or extract again."
    )
    assert contents(damaged) == before


def test_an_array_that_no_unit_has_is_named_as_lost(damaged, study, monkeypatch):
    """A later version's array: nothing here can make it; what can be rebuilt is."""
    from qloc.store.files.npz_mmap import MappedUnit

    member = MappedUnit.__contains__
    monkeypatch.setattr(
        MappedUnit, "__contains__", lambda self, path: path != "queries/rank" and member(self, path)
    )
    for name in ("queries/rank/c/0", "queries/argmax/c/0"):
        flip(damaged / name)
    said = manifest.read(damaged)["objects"]["queries/rank/c/0"]["sha256"]
    with pytest.raises(VerificationError) as caught:
        repaired(damaged, study)
    assert str(caught.value) == (
        f"array queries/rank, queries 0 to 15 (units 0 to 3) is 'lost'; expected sha256 {said}. "
        f"At {damaged}/queries/rank/c/0. Take it from the store's source again, or extract into another --out."
    )
    assert len(verify(damaged)) == 1
