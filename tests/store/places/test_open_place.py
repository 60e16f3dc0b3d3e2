"""What a user names is opened as a folder, an archive or a URL; what cannot be opened is refused."""

import sys

import pytest
import servers

from qloc.errors import InputError, MissingDependencyError, RemoteError, SchemaError
from qloc.store.exchange.pull import pull
from qloc.store.files.place import Folder
from qloc.store.files.url import Url
from qloc.store.places import object_store
from qloc.store.places.object_store import ObstoreObjects
from qloc.store.places.object_store_fsspec import Files
from qloc.store.places.open_place import connect, place_of, remote
from qloc.store.places.remote import Remote, RemoteArchive
from qloc.store.places.zip_archive import Archive
from qloc.store.reading.open_store import open_store


def test_no_store_and_no_server(site, tmp_path, monkeypatch):
    with pytest.raises(SchemaError) as caught:
        open_store(f"{site.url}/nothing")
    assert str(caught.value) == (
        "URL is 'without a manifest'; expected a complete store, with manifest.json. "
        f"At {site.url}/nothing. Correct the URL, or push the store to its end."
    )
    with pytest.raises(SchemaError, match=r"^file is 'missing'"):
        open_store(f"{site.url}/nothing.zip")
    with pytest.raises(InputError, match="without user, password, query and fragment"):
        open_store("https://me:secret@example.org/s.zarr")
    monkeypatch.setitem(object_store._RETRY, "max_retries", 0)
    with pytest.raises(RemoteError, match=r"^service is 'Generic HTTP error"):
        open_store("http://127.0.0.1:9/s.zarr")
    with pytest.raises(InputError, match=r"^scheme is 'nonsense'; expected s3, gs"):
        pull("nonsense://x/y", tmp_path / "out")


def test_folders_archives_and_places(shelf, tmp_path):
    folder = place_of(shelf / "s.zarr")
    assert isinstance(folder, Folder)
    assert place_of(folder) is folder
    assert isinstance(place_of(str(shelf / "s.zarr.zip")), Archive)
    assert isinstance(place_of(tmp_path / "none"), Folder)
    with pytest.raises(SchemaError, match=r"^file is 'File is not a zip file'; "):
        place_of(shelf / "s.zarr/zarr.json")


@pytest.mark.parametrize(
    ("name", "kind"), [("s.zarr", Remote), ("s.zarr/", Remote), ("s.zarr.zip", RemoteArchive)]
)
def test_urls(site, name, kind):
    place = place_of(f"{site.url}/{name}")
    assert type(place) is kind
    assert place.path == f"{site.url}/{name.rstrip('/')}"


def test_a_name_that_is_escaped_in_its_url(shelf, tmp_path):
    """Over HTTP the URL is escaped; the object is asked for by its name, which is escaped again."""
    (tmp_path / "my store.zip").write_bytes((shelf / "s.zarr.zip").read_bytes())
    with servers.http_server(tmp_path) as site:
        assert "zarr.json" in set(remote(f"{site.url}/my%20store.zip").names())
        assert {path for path, _ in site.asked} == {"/my%20store.zip"}


def test_each_scheme_has_its_library(tmp_path):
    assert type(connect(Url(tmp_path.as_uri()))) is ObstoreObjects
    assert type(connect(Url("s3://bucket/s.zarr"), write=True)) is ObstoreObjects
    assert type(connect(Url("memory://s.zarr"))) is Files


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_web_server_is_not_written_to(scheme):
    with pytest.raises(InputError) as caught:
        connect(Url(f"{scheme}://example.org/s.zarr"), write=True)
    assert str(caught.value) == (
        f"URL is '{scheme}://example.org/s.zarr'; expected a URL that can be written to, such as "
        "s3://bucket/study.zarr. At qloc store push. Push to the service itself; pull reads from https."
    )


@pytest.mark.parametrize(
    ("package", "url", "extra"),
    [("obstore", "s3://b/s.zarr", "qloc[remote]"), ("paramiko", "sftp://host/s.zarr", "paramiko")],
)
def test_what_to_install_for_a_scheme(monkeypatch, package, url, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        connect(Url(url))
    assert str(caught.value) == (
        f"package {package} for {url.partition('://')[0]}:// is 'missing'; expected an installed one. At {url}. "
        f"pip install '{extra}'."
    )
