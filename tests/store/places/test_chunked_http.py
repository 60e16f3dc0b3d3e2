"""Web servers that tell no lengths, or send next to nothing."""

import http.client

import pytest
import servers

from qloc.errors import RemoteError
from qloc.store.files.url import Url
from qloc.store.places import object_store
from qloc.store.places.chunked_http import chunked_pieces
from qloc.store.places.object_store import ObstoreObjects


@pytest.fixture
def site(tmp_path):
    """Serve a file of ten digits and one of two pieces, in chunks."""
    (tmp_path / "digits").write_bytes(b"0123456789")
    (tmp_path / "larger").write_bytes(bytes(range(256)) * 30)
    with servers.http_server(tmp_path) as server:
        server.chunked = True
        yield server


def test_pieces_of_an_object_of_unknown_length(site):
    assert b"".join(chunked_pieces(f"{site.url}/larger")) == bytes(range(256)) * 30
    with pytest.raises(FileNotFoundError):
        list(chunked_pieces(f"{site.url}/none"))


def test_an_answer_that_ends_amid_a_chunk_is_an_error(site):
    site.ends_early = True
    with pytest.raises(http.client.IncompleteRead):
        list(chunked_pieces(f"{site.url}/larger"))
    with pytest.raises(RemoteError):
        ObstoreObjects(Url(site.url), write=False).read("larger")


def test_objects_of_unknown_length_are_read_whole_and_in_parts(site, monkeypatch):
    objects = ObstoreObjects(Url(site.url), write=False)
    assert objects.read("digits") == b"".join(objects.pieces("digits")) == b"0123456789"
    assert objects.read("digits", 2, 5) == b"234"
    assert objects.size("digits") == 10
    with pytest.raises(FileNotFoundError):
        objects.read("none")
    monkeypatch.setattr(object_store, "_MOST_WHOLE", 9)
    with pytest.raises(RemoteError, match=r"^server is 'without byte ranges, for more than 9 bytes'"):
        ObstoreObjects(Url(site.url), write=False).read("digits", 2, 5)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_that_drips_is_ended(site, monkeypatch, chunked):
    monkeypatch.setattr(object_store, "_GRACE", 0.05)
    site.chunked, site.drip = chunked, 0.02
    with pytest.raises(
        RemoteError, match=r"^answer is '\d bytes in 0 seconds'; expected at least 1024 bytes a"
    ):
        ObstoreObjects(Url(site.url), write=False).read("digits")
