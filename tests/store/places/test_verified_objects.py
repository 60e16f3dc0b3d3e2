"""What zarr reads through a manifest: nothing that it does not list, and nothing that is not as it says."""

import shutil

import pytest
import servers

from qloc.errors import VerificationError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store


def test_an_object_that_is_gone_is_no_missing_values(shelf, tmp_path):
    shutil.copytree(shelf / "s.zarr", tmp_path / "s.zarr")
    with servers.http_server(tmp_path) as site:
        study = open_store(f"{site.url}/s.zarr")
        (tmp_path / "s.zarr/queries/rank/c/0").unlink()
        where = f"At {site.url}/s.zarr/queries/rank/c/0. Take this object from the store's source again."
        with pytest.raises(VerificationError) as caught:
            study.queries["rank"].load()
        size = (shelf / "s.zarr/queries/rank/c/0").stat().st_size
        assert str(caught.value) == f"object queries/rank/c/0 is 'missing'; expected {size} bytes. {where}"
        site.contents["/s.zarr/queries/rank/c/0"] = bytes(size)
        with pytest.raises(
            VerificationError, match=r"^object queries/rank/c/0 is 'sha256 \w{64}'; expected sha256"
        ):
            study.queries["rank"].load()
        assert len(verify(f"{site.url}/s.zarr")) == 1
