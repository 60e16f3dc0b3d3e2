"""Rebuilding one object: its cells from unit files, against the whole array; the bytes that zarr wrote."""

import numpy as np
import pytest
from synthetic import Synthetic

from qloc.arrays import Array
from qloc.errors import VerificationError
from qloc.store.integrity.check import layout_of
from qloc.store.integrity.object_contents import Contents
from qloc.store.integrity.verify import verify
from qloc.store.repair.rebuild_object import cells_of_units, require_slots, write_object
from qloc.store.repair.whole_store import Repair
from qloc.store.schema import manifest
from qloc.store.schema.zarr_arrays import stored
from qloc.store.units import ledger
from qloc.store.writing.writer import signal_arrays


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


@pytest.fixture(scope="module")
def extracted(cut, study, tmp_path_factory):
    """Return a folder with the files of every unit, and their records by unit."""
    folder, layout = tmp_path_factory.mktemp("extracted"), layout_of(cut)
    (folder / "units").mkdir()
    records = {
        block.unit: ledger.write_arrays(folder, block.unit.number, signal_arrays(block, layout), {})
        for block in study.blocks()
    }
    return folder, records


def of_units(store):
    """The objects of every array that has rows of units, with the array's variable and their cells."""
    contents = Contents(store)
    for name in manifest.objects(store):
        variable, region = contents.variable(name), contents.region(name)
        if contents.units(name):
            assert variable is not None
            assert region is not None
            yield name, variable, region, contents.units(name)


def same(a: Array, b: Array) -> bool:
    return a.tolist() == b.tolist() if a.dtype == object else np.array_equal(a, b, equal_nan=True)


def test_cells_are_those_of_the_whole_array(cut, extracted):
    folder, records = extracted
    n_objects = 0
    for name, variable, region, units in of_units(cut):
        touched = {unit: records[unit] for unit in units}
        cells = cells_of_units(cut, folder, variable, region, touched, keep=False)
        assert cells is not None
        assert same(cells, stored(cut / variable.path, region)), name
        n_objects += 1
    assert n_objects > 40


def test_cells_of_other_units_are_kept(cut, extracted):
    """The rows of one unit alone; the others' are the store's, or missing."""
    folder, records = extracted
    n_parts = 0
    for name, variable, region, units in of_units(cut):
        if len(units) < 2:
            continue
        whole = stored(cut / variable.path, region)
        kept = cells_of_units(cut, folder, variable, region, {units[0]: records[units[0]]}, keep=True)
        alone = cells_of_units(cut, folder, variable, region, {units[0]: records[units[0]]}, keep=False)
        assert kept is not None
        assert alone is not None
        assert same(kept, whole), name
        axis, unit = variable.row or 0, units[0]
        of_facts = variable.dims[axis] == "fact"
        rows = np.arange(region[axis].start, region[axis].stop)
        own = np.isin(
            rows,
            range(*((unit.first_fact, unit.last_fact) if of_facts else (unit.first_query, unit.last_query))),
        )
        assert same(alone.compress(own, axis), whole.compress(own, axis)), name
        rest = alone.compress(~own, axis).reshape(-1)
        if rest.dtype.kind == "f":
            assert np.isnan(rest).all(), name
        elif rest.dtype == object:
            assert set(rest.tolist()) <= {""}, name
        else:
            assert (rest == -1).all(), name
        n_parts += bool(own.any() and not own.all())
    assert n_parts > 20


def test_bytes_are_those_of_the_store(cut, tmp_path):
    for name, variable, region, _ in of_units(cut):
        made = write_object(cut, tmp_path, name, region, stored(cut / variable.path, region))
        assert made.read_bytes() == (cut / name).read_bytes(), name


def test_unit_without_the_variable_gives_no_cells(cut, extracted, tmp_path):
    _, records = extracted
    name, variable, region, units = next(of_units(cut))
    (tmp_path / "units").mkdir()
    record = ledger.write_arrays(tmp_path, 0, {"queries/other": np.zeros(3)}, {})
    assert cells_of_units(cut, tmp_path, variable, region, {units[0]: record}, keep=False) is None, name
    assert set(records) >= set(units)


def test_panels_as_large_as_the_stores_fit(cut, extracted):
    _, records = extracted
    most = stored(cut / "signals/panel_neuron").shape[1]
    require_slots(cut, records.values())
    unit = ledger.UnitRecord(number=2, file="", sha256="", size=0, n_slots=most + 1)
    with pytest.raises(VerificationError) as caught:
        require_slots(cut, [*records.values(), unit])
    assert str(caught.value) == (
        f"panel of unit 2 is {most + 1}; expected at most {most} slots. At {cut}. "
        "Repair where it was made (the manifest's run says on what), or extract again."
    )
