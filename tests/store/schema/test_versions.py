"""Stores of every schema so far open, verify and lead to the same numbers; those of the future are refused."""

import hashlib
import importlib.util
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from synthetic import FINGERPRINT

from qloc.canonical_json import canonical
from qloc.errors import SchemaError
from qloc.store.exchange.pack import pack, unpack
from qloc.store.integrity.skeleton_record import SkeletonRecord
from qloc.store.integrity.verify import verify
from qloc.store.reading.info import info
from qloc.store.reading.open_store import open_store
from qloc.store.repair.whole_store import Repair
from qloc.store.schema import manifest, variables, versions
from qloc.store.writing.roll_forward import roll_forward
from qloc.store.writing.writer import Writer

FIXTURES = Path(__file__).parents[1] / "fixtures"
PACKED = sorted(FIXTURES.glob("schema-*.zarr.zip"))


@pytest.fixture(scope="module")
def making():
    """Return the script that made the fixtures, as a module."""
    spec = importlib.util.spec_from_file_location("making", FIXTURES / "make_schema_fixture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def numbers(making):
    return making.numbers


def test_there_is_a_store_of_every_version():
    assert [path.name for path in PACKED] == [
        f"schema-{n}.zarr.zip" for n in range(1, variables.SCHEMA_VERSION + 1)
    ]
    assert all(path.stat().st_size < 200_000 for path in PACKED)
    assert set(versions.UPGRADES) == set(range(1, variables.SCHEMA_VERSION))


@pytest.mark.parametrize("packed", PACKED, ids=lambda path: path.name)
def test_a_store_of_any_version_leads_to_the_same_numbers(packed, numbers, tmp_path):
    """Packed and unpacked. The sums may be added in another order: 1e-9; all else is exact."""
    expected = json.loads(packed.with_name(packed.name.replace(".zarr.zip", ".json")).read_text())
    assert sum(map(len, expected["neurons"])) > 100
    assert verify(packed) == []
    for store in (packed, unpack(packed, tmp_path / "s.zarr")):
        found = numbers(store)
        assert set(found) == set(expected)
        for name in ("prompts", "log_probability", "known", "neurons", "k", "n_neurons"):
            assert found[name] == expected[name], name
        for name in set(found) - {"prompts", "neurons"}:
            np.testing.assert_allclose(
                np.array(found[name], dtype=float), np.array(expected[name], dtype=float), rtol=1e-9
            )
    assert verify(tmp_path / "s.zarr") == []
    assert info(packed)["schema_version"] == int(packed.name.split("-")[1].split(".")[0])


def with_root(store, change, **said):
    """Change a store's root attributes, and its manifest accordingly."""
    root = json.loads((store / "zarr.json").read_bytes())
    change(root["attributes"])
    content = canonical(root)
    (store / "zarr.json").write_bytes(content)
    found = manifest.read(store)
    found["objects"]["zarr.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest.replace(store, {**found, "metadata": root, **said})


def test_a_newer_store_is_refused_naming_what_to_update_to(copy):
    before = {"run": {"qloc": "2.1.0"}, "more": 1, "schema_version": 2}
    with_root(copy, lambda attributes: attributes.update(schema_version=2), **before)
    for reading in (open_store, info, verify, Repair.open, pack):
        with pytest.raises(SchemaError) as caught:
            reading(copy)
        assert str(caught.value) == (
            "schema version is 2; expected at most 1, which this version of qloc reads. "
            f"At {copy}. Update qloc: qloc 2.1.0 wrote this store."
        )


def test_a_newer_store_that_is_unfinished_is_refused(tmp_path, study):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT):
        pass
    root = json.loads((store / "zarr.json").read_bytes())
    root["attributes"]["schema_version"] = 3
    (store / "zarr.json").write_bytes(canonical(root))
    SkeletonRecord.of(store).write(store)
    for reading in (open_store, lambda path: Writer.open(path, study.outline(), FINGERPRINT)):
        with pytest.raises(SchemaError) as caught:
            reading(store)
        assert str(caught.value).endswith(f" At {store}. Update qloc: a later version wrote this store.")


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, None, True])
def test_what_is_no_version_is_refused(copy, version):
    with_root(copy, lambda attributes: attributes.update(schema_version=version))
    with pytest.raises(SchemaError) as caught:
        open_store(copy)
    assert str(caught.value) == (
        f"schema version is {version!r}; expected a whole number from 1 on. At {copy}. "
        "Take the store from its source again."
    )


@pytest.fixture
def next_version(monkeypatch):
    """Raise the schema's version, as who changes it will: ``capacity`` of the layout got another name before."""

    def upgrade(attributes):
        layout = dict(attributes["layout"])
        layout["capacity"] = layout.pop("slots_at_most")
        return {**attributes, "layout": layout}

    monkeypatch.setattr(variables, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(versions.UPGRADES, 1, upgrade)


def test_an_older_store_is_read_as_the_present_schema_has_it(copy, finished, next_version):
    with_root(copy, lambda found: found["layout"].update(slots_at_most=found["layout"].pop("capacity")))
    opened = open_store(copy)
    assert opened.layout.capacity == 4096
    assert opened.attrs["schema_version"] == 1
    assert info(copy)["schema_version"] == 1
    assert len(opened.queries["prompt"]) == 16


def test_an_unfinished_store_of_an_older_schema_is_not_gone_on_with(tmp_path, study, monkeypatch):
    store = tmp_path / "s.zarr"
    with Writer.open(store, study.outline(), FINGERPRINT) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
    before = shutil.copytree(store, tmp_path / "before.zarr")
    monkeypatch.setattr(variables, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(versions.UPGRADES, 1, dict)
    for writing in (
        lambda: Writer.open(store, study.outline(), FINGERPRINT),
        lambda: roll_forward(store, {}),
    ):
        with pytest.raises(SchemaError) as caught:
            writing()
        assert str(caught.value) == (
            f"schema version is 1; expected 2, to go on with an unfinished store. At {store}. "
            "Finish it with the version of qloc that began it."
        )
    assert sorted(p.name for p in store.rglob("*")) == sorted(p.name for p in before.rglob("*"))
    assert not open_store(store).complete


def test_the_fixture_is_what_its_script_makes_but_for_the_manifest(making, tmp_path, monkeypatch):
    """Of the present version only: that its script still runs, and that the fixture is not made again."""
    with pytest.raises(SystemExit, match="stays as it is"):
        making.main()
    monkeypatch.setattr(making, "HERE", tmp_path)
    making.main()
    with zipfile.ZipFile(tmp_path / PACKED[-1].name) as new, zipfile.ZipFile(PACKED[-1]) as old:
        assert {"zarr.json", "manifest.json"} < set(old.namelist()) <= set(new.namelist())
