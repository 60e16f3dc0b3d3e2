"""Addresses of remote stores, and what refuses them."""

from pathlib import Path

import pytest
from folders import listing

from qloc.errors import InputError
from qloc.store.exchange.merge import merge
from qloc.store.exchange.pack import pack, unpack
from qloc.store.files.url import Url, is_url, local, url_of
from qloc.store.repair.whole_store import Repair


def test_url_leads_on_as_a_path_does():
    url = Url("s3://bucket/a/study.zarr/")
    assert url / "zarr.json" == "s3://bucket/a/study.zarr/zarr.json"
    assert isinstance(url / "zarr.json", Url)
    assert (url.scheme, url.name, url.parent) == ("s3", "study.zarr", "s3://bucket/a/")
    assert Url("HF://datasets/me/x").scheme == "hf"
    assert Url("s3://bucket").name == ""
    assert Url("https://example.org/a%20b.zip").name == "a%20b.zip"


@pytest.mark.parametrize("text", ["s3://bucket/a", "git+ssh://host/a", "a-b://c", "file:///a"])
def test_texts_that_are_urls(text):
    assert is_url(text)


@pytest.mark.parametrize(
    "text", ["a.zarr", "/a/b://c", "c:/a", "c:\\a", "://a", "a b://c", "", None, Path("s3://a")]
)
def test_what_is_no_url(text):
    assert not is_url(text)


def test_a_path_stays_a_path():
    assert local("a/s.zarr", "qloc store pack") == Path("a/s.zarr")
    assert local(Path("a"), "qloc store pack") == Path("a")


def test_slash_at_the_end_is_left_out():
    assert url_of("s3://bucket/s.zarr//") == "s3://bucket/s.zarr"


def test_a_path_is_no_url():
    with pytest.raises(InputError) as caught:
        url_of("s.zarr")
    assert str(caught.value) == (
        "remote is 's.zarr'; expected a URL such as s3://bucket/study.zarr. At qloc store push and pull. Give one."
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://me@example.org/s.zarr",
        "https://me:secret@example.org/s.zarr",
        "https://:secret@example.org/s.zarr",
        "https://example.org/s.zarr?token=secret",
        "https://example.org/s.zarr#secret",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_shown(text):
    with pytest.raises(InputError) as caught:
        url_of(text)
    assert str(caught.value) == (
        "URL is 'https://…/s.zarr'; expected without user, password, query and fragment. At the command line. "
        "Give the bare URL, and credentials by the environment."
    )


def test_what_wants_files_says_how_to_get_them(site, tmp_path):
    url = f"{site.url}/s.zarr"
    for call, command in (
        (lambda: pack(url), "pack"),
        (lambda: pack(url, tmp_path / "p.zarr.zip"), "pack"),
        (lambda: unpack(f"{url}.zip"), "unpack"),
        (lambda: Repair.open(url), "repair"),
        (lambda: merge([url, tmp_path / "s.zarr"], tmp_path / "m.zarr"), "merge"),
    ):
        given = f"{url}.zip" if command == "unpack" else url
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == (
            f"store is '{given}'; expected a path on this machine. At qloc store {command}. "
            f"Run qloc store pull {given} STORE, and give STORE."
        )
    assert listing(tmp_path) == []
