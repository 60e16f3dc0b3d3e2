"""A folder as a place, and names that lead out of one."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.store.files.place import Folder, is_inside, place_at


@pytest.fixture
def folder(tmp_path):
    """Return a folder with files, links, and a phase being appended."""
    for name in ("zarr.json", "b/zarr.json", "b/c/0", "appending/b/zarr.json", "b/appending/x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "linked").symlink_to(tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "zarr.json")
    (tmp_path / "empty").mkdir()
    return Folder(tmp_path)


def test_names_are_files_and_links_but_not_what_is_being_appended(folder):
    assert list(folder.names()) == ["b/appending/x", "b/c/0", "b/zarr.json", "link", "linked", "zarr.json"]


def test_a_link_in_place_of_what_is_appended_is_named(tmp_path):
    (tmp_path / "appending").symlink_to(tmp_path)
    assert list(Folder(tmp_path).names()) == ["appending"]


def test_sizes_are_those_of_ordinary_files_only(folder):
    sizes = {name: folder.size(name) for name in ("b/c/0", "b", "link", "linked", "none", "b/c/0/none")}
    assert sizes == {"b/c/0": 5, "b": -1, "link": -1, "linked": -1, "none": None, "b/c/0/none": None}


def test_content_and_digest(folder):
    assert folder.read("b/c/0") == b"b/c/0"
    assert folder.digest("b/c/0") == hashlib.sha256(b"b/c/0").hexdigest()
    with pytest.raises(FileNotFoundError):
        folder.read("none")


def test_zarr_opens_the_path(folder, tmp_path):
    assert folder.zarr() == tmp_path
    assert (folder.consolidated, folder.at_once) == (False, 1)


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    assert list(Folder(tmp_path / "none").names()) == []


def test_place_at_a_path_or_as_it_is(folder, tmp_path):
    assert place_at(folder) is folder
    made = place_at(tmp_path)
    assert isinstance(made, Folder)
    assert made.path == tmp_path


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "a\\b", "C:/a", "a\0b", "a\nb"]
)
def test_names_that_lead_out_or_are_odd_are_not_inside(name):
    assert not is_inside(name)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\\:", exclude_categories=["Cc", "Cs"]), min_size=1),
        min_size=1,
    )
)
def test_plain_parts_are_inside_unless_they_are_dots(parts):
    assert is_inside("/".join(parts)) == (not {".", ".."} & set(parts))
