"""Groups made where an earlier run left them half made: whatever it left, and however late it wrote it."""

import json
import os
import shutil
from typing import Any

import numpy as np
import pytest
from synthetic import FINGERPRINT, WithColumn, write_store

from qloc.errors import FingerprintError, InputError, StorageError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.writing.writer import Writer


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("backwards", [False, True], ids=["parents first", "children first"])
def test_prefixes_of_a_skeleton_are_gone_on_with(tmp_path, as_far_as, study, backwards):
    whole, store, aside = (tmp_path / name for name in ("whole.zarr", "s.zarr", ".s.zarr.new"))
    with Writer.open(whole, study.outline(), FINGERPRINT):
        pass
    names = sorted((p.relative_to(whole).as_posix() for p in whole.rglob("*")), reverse=backwards)
    assert len(names) > 40
    for n in range(backwards, len(names) + 1, 4):
        as_far_as(n, whole, names, aside)
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            assert len(writer.missing()) == 4
        assert contents(store) == contents(whole), names[:n]
        assert not aside.exists()
        shutil.rmtree(store)


def test_nothing_comes_late_where_a_skeleton_fails(late, tmp_path, study):
    late(
        tmp_path / ".s.zarr.new" / "zarr.json",
        lambda: Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT),
    )
    assert list(tmp_path.iterdir()) == []
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4


def test_other_fingerprint_is_refused_showing_the_difference(finished, study):
    held: dict[str, Any] = {**FINGERPRINT}
    asked = {
        "model": {**held["model"], "weights": "ff00"},
        "parameters": {"steps": 40, "methods": ("ig",)},
    }
    with pytest.raises(FingerprintError) as caught:
        Writer.open(finished, study.outline(), asked)
    assert str(caught.value) == (
        "fingerprint of signals is "
        "\"837092c897cf (model.weights: 'ab12' → 'ff00'; parameters.steps: 20 → 40)\"; "
        f"expected 3280ecbdcf65. At {finished}. "
        "Give another --out, or the model, facts and parameters that the store was made with."
    )


def test_other_layout_is_refused_showing_the_difference(finished, study):
    with pytest.raises(FingerprintError) as caught:
        Writer.open(finished, study.outline(), FINGERPRINT, floor=0.1)
    assert "(layout.floor: 0.05 → 0.1)" in str(caught.value)


@pytest.mark.parametrize("something", ["file", "folder", "foreign Zarr"])
def test_path_that_holds_something_else_is_refused(tmp_path, study, something):
    path = tmp_path / "s.zarr"
    if something == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        content = (
            {"zarr_format": 3, "node_type": "group", "attributes": {}} if something == "foreign Zarr" else 1
        )
        (path / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        Writer.open(path, study.outline(), FINGERPRINT)
    got = "a file" if something == "file" else "a folder with something else in it"
    assert str(caught.value) == (
        f"path is '{got}'; expected a qloc store, or nothing yet. At {path}. Give another --out."
    )
    assert list(tmp_path.iterdir()) == [path]


def test_empty_folder_becomes_a_store(tmp_path, study):
    (tmp_path / "deep" / "s.zarr").mkdir(parents=True)
    with Writer.open(tmp_path / "deep" / "s.zarr", study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4


def test_every_problem_of_an_outline_is_told_at_once(tmp_path, study):
    outline = study.outline()
    facts = {**outline.facts, "../up": outline.facts["count"], "short": np.zeros(3)}
    del facts["leaks"]
    broken = type(outline)(**{**vars(outline), "facts": facts, "attrs": {"layout": 1}})
    with pytest.raises(InputError) as caught:
        Writer.open(tmp_path / "s.zarr", broken, FINGERPRINT)
    assert caught.value.problems == (
        "column is 'missing'; expected 'leaks'. At the outline's facts. Make outlines as qloc.block says.",
        "attribute of facts is '../up'; "
        "expected a name without /, \\, : and control characters, not empty, dots, zarr.json or of the form "
        "__…. At the outline's facts. Rename it in the facts.",
        "shape of column 'short' is (3,); expected (10,). At the outline's facts. Give a value a fact.",
        "attribute is 'layout'; expected a name other than schema_version, fingerprint, layout, phases. "
        "At the outline's attrs. Rename it.",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["born: year", "a\\b", "tab\there", "..", " ", "a/b", "__own", "zarr.json"])
def test_a_column_that_no_manifest_could_list_is_refused_before_work(tmp_path, name):
    study = WithColumn(n_facts=4, column=name)
    with pytest.raises(InputError) as caught:
        Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT)
    assert caught.value.problems == (
        f"attribute of facts is {name!r}; "
        "expected a name without /, \\, : and control characters, not empty, dots, zarr.json or of the form "
        "__…. At the outline's facts. Rename it in the facts.",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["c", "0", "a.b", "born (year)", "Größe"])
def test_a_store_with_a_column_of_any_other_name_is_read(tmp_path, name):
    store = write_store(tmp_path / "s.zarr", WithColumn(n_facts=4, column=name))
    assert open_store(store).facts[name].to_numpy().tolist() == [0.0, 0.5, 1.0, 1.5]
    assert verify(store) == []


def test_disk_that_is_full_from_the_start_leaves_nothing(tmp_path, study, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError):
        Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".s.zarr.new", ".s.zarr.new/ledger", ".s.zarr.new/ledger/lock"])
def test_links_at_temporary_names_are_not_followed(tmp_path, study, name):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").write_text("kept")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match="path is 'a link'; expected nothing"):
        Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["kept"]
    assert not (tmp_path / "s.zarr").exists()


def test_links_in_place_of_a_stores_folders_are_not_followed(tmp_path, study):
    """A stranger's unfinished store would have them emptied."""
    store, target = tmp_path / "s.zarr", tmp_path / "target"
    with Writer.open(store, study.outline(), FINGERPRINT):
        pass
    target.mkdir()
    (target / "kept").write_text("kept")
    (store / "units").rmdir()
    (store / "units").symlink_to(target)
    with pytest.raises(InputError, match="path is 'a link'; expected nothing"):
        Writer.open(store, study.outline(), FINGERPRINT)
    assert (target / "kept").read_text() == "kept"


def test_the_working_directory_and_links_to_nothing_are_refused(tmp_path, study, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path / "here")
    for path, got in ((".", "the working directory"), ("../link", "a link to nothing")):
        with pytest.raises(InputError, match=f"path is '{got}'; expected"):
            Writer.open(path, study.outline(), FINGERPRINT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "link"]


def test_a_link_to_an_empty_folder_stays_one(tmp_path, study):
    (tmp_path / "elsewhere" / "s.zarr").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "s.zarr")
    with Writer.open(tmp_path / "link", study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "s.zarr" / "zarr.json").is_file()
