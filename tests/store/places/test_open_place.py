"""What a user names is opened as a folder, an archive or a URL; what cannot be opened is refused."""

import pytest

from qloc.errors import InputError, RemoteError, SchemaError
from qloc.store.exchange.pull import pull
from qloc.store.places import object_store
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
