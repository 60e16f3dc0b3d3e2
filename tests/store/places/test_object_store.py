"""Objects through obstore: a folder, an HTTP server with and without byte ranges, and S3."""

import hashlib
import pickle

import pytest
import servers

from qloc.errors import InputError, RemoteError
from qloc.store.files.url import Url
from qloc.store.places import object_store
from qloc.store.places.object_store import Entry, ObstoreObjects, speaking, unquoted

ACTION = "Check URL, network and credentials and run the same command again: what arrived is kept."


@pytest.fixture
def folder(tmp_path):
    """Return the objects of a folder that is not there before the first is put."""
    return ObstoreObjects(Url((tmp_path / "far/store").as_uri()), write=True)


def test_what_is_put_is_there_in_whole_and_in_parts(folder, tmp_path):
    folder.put({"a/b": b"0123456789", "c": b""})
    assert (tmp_path / "far/store/a/b").read_bytes() == b"0123456789"
    assert folder.read("a/b") == b"0123456789"
    assert folder.read("a/b", 2, 5) == b"234"
    assert folder.read("a/b", 7) == b"789"
    assert (folder.size("a/b"), folder.size("c")) == (10, 0)
    assert b"".join(folder.pieces("a/b")) == b"0123456789"
    assert folder.listing() == {"a/b": Entry(size=10), "c": Entry(size=0)}
    folder.put({"c": b"new"})
    folder.delete(["a/b"])
    assert folder.listing() == {"c": Entry(size=3)}


def test_an_object_that_is_not_there(folder):
    folder.put({"a": b"1"})
    for ask in (
        folder.read,
        folder.size,
        lambda name: list(folder.pieces(name)),
        lambda name: folder.read(name, 1, 2),
    ):
        with pytest.raises(FileNotFoundError):
            ask("none")


def test_who_was_pickled_reads_but_does_not_write(folder):
    folder.put({"a": b"1"})
    again = pickle.loads(pickle.dumps(folder))
    assert again.read("a") == b"1"
    assert (folder._write, again._write) == (True, False)


@pytest.fixture
def digits(tmp_path):
    (tmp_path / "digits").write_bytes(b"0123456789")
    return tmp_path


def test_over_http_parts_are_asked_for_and_nothing_is_listed(digits):
    with servers.http_server(digits) as site:
        objects = ObstoreObjects(Url(site.url), write=False)
        assert objects.read("digits", 2, 5) == b"234"
        assert objects.read("digits", 8) == b"89"
        assert [span for _, span in site.asked] == ["bytes=2-4", "bytes=8-"]
        assert objects.size("digits") == 10
        assert objects.listing() is None
        with pytest.raises(FileNotFoundError):
            objects.read("none")


def test_a_server_without_ranges_gives_the_whole_once(digits):
    with servers.http_server(digits, ranges=False) as site:
        objects = ObstoreObjects(Url(site.url), write=False)
        parts = [objects.read("digits", n, n + 2) for n in range(0, 10, 2)]
        assert parts == [b"01", b"23", b"45", b"67", b"89"]
        assert len(site.asked) == 2  # one that asked for a part, one for the whole


def test_a_server_without_ranges_does_not_fill_memory(digits, monkeypatch):
    monkeypatch.setattr(object_store, "_MOST_WHOLE", 9)
    with servers.http_server(digits, ranges=False) as site:
        with pytest.raises(RemoteError) as caught:
            ObstoreObjects(Url(site.url), write=False).read("digits", 2, 4)
        assert str(caught.value) == (
            "server is 'without byte ranges, for 10 bytes'; expected one that can read a part of a file. "
            f"At {site.url}/digits. Pull or download the store, and open that."
        )


def test_s3_says_the_md5_of_what_was_put(s3):
    objects = ObstoreObjects(Url("s3://bucket/md5"), write=True)
    objects.put({"a": b"content"})
    expected = Entry(size=7, checksum=("md5", hashlib.md5(b"content").hexdigest()))
    assert objects.listing() == {"a": expected}
    objects.delete(["a"])
    assert objects.listing() == {}


@pytest.mark.parametrize(
    ("error", "got"),
    [
        (ValueError("refused"), "refused"),
        (ValueError("  first\nsecond"), "first"),
        (ValueError("refused\n\nDebug source: everything"), "refused"),
        (ValueError("x" * 600), "x" * 500),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (PermissionError(13, "no"), "[Errno 13] no"),
    ],
)
def test_what_a_service_says_in_one_line(error, got):
    with pytest.raises(RemoteError) as caught, speaking("s3://b/a"):
        raise error
    assert str(caught.value) == f"service is {got!r}; expected an answer. At s3://b/a. {ACTION}"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [FileNotFoundError(2, "none"), ImportError("package"), InputError("ours")])
def test_what_is_missing_and_what_is_ours_stays_as_it_is(error):
    with pytest.raises(type(error)) as caught, speaking("s3://b/a"):
        raise error
    assert caught.value is error


def test_names_are_escaped_over_http_only():
    assert unquoted(Url("https://example.org/a/my%20s.zip")) == "my s.zip"
    assert unquoted(Url("s3://bucket/my%20s.zip")) == "my%20s.zip"
