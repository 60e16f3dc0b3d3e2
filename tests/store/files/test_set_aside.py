"""What is no part of a store is moved beside it, and nothing that was moved before is overwritten."""

import pytest

from qloc.errors import InputError
from qloc.store.files.set_aside import set_aside


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    store = tmp_path / "s.zarr"
    beside = tmp_path / "s.zarr.removed"
    for n, name in enumerate(("x", "x.1", "x.2")):
        (store / "facts").mkdir(parents=True, exist_ok=True)
        (store / "facts" / "x").write_text(str(n))
        assert set_aside(store, "facts/x") == beside / "facts" / name
    assert [(beside / "facts" / name).read_text() for name in ("x", "x.1", "x.2")] == ["0", "1", "2"]


def test_a_link_is_moved_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "x").symlink_to(tmp_path / "target")
    assert set_aside(tmp_path / "s.zarr", "x").is_symlink()
    assert (tmp_path / "target").read_text() == "kept"


def test_of_a_linked_store_it_stays_on_the_stores_file_system(tmp_path):
    (tmp_path / "elsewhere" / "s.zarr").mkdir(parents=True)
    (tmp_path / "elsewhere" / "s.zarr" / "x").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "s.zarr")
    assert set_aside(tmp_path / "link", "x") == tmp_path / "elsewhere" / "s.zarr.removed" / "x"


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "x").touch()
    (tmp_path / "s.zarr.removed").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match="path is 'a link'"):
        set_aside(tmp_path / "s.zarr", "x")
    assert (tmp_path / "s.zarr" / "x").exists()
