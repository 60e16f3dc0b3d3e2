"""Objects through fsspec file systems, and the Hugging Face Hub among them."""

import os
import subprocess
import sys

import pytest
import servers
from folders import contents

from qloc.errors import RemoteError
from qloc.store.exchange.push import MARKER, push

HUB = "hf://datasets/me/facts/small.zarr"


ROUND = """
import sys
from qloc.store.exchange.pull import pull
from qloc.store.exchange.push import push
from qloc.store.reading.open_store import open_store
from qloc.store.integrity.verify import verify
store, url, out = sys.argv[1:]
push(store, url)
push(store, url)
assert verify(url) == []
assert open_store(url).queries.load().identical(open_store(store).queries.load())
pull(url, out)
"""


def on_the_hub(program, arguments, **environment):
    told = {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True)


def test_the_hub_there_and_back(small, tmp_path):
    with servers.hub_server() as hub:
        home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        done = on_the_hub(ROUND, (small, HUB, tmp_path / "out"), HF_TOKEN="hf_token", **home)
        assert done.returncode == 0, done.stderr[-3000:]
        assert contents(tmp_path / "out") == contents(small)
        names = {f"small.zarr/{name}" for name in contents(small)}
        assert set(hub.files) == names | {".gitattributes"}
        # push.json, all objects at once, the manifest last, push.json gone; the second push commits nothing.
        manifest, marker = "small.zarr/manifest.json", f"small.zarr/{MARKER}"
        assert [set(commit) for commit in hub.commits] == [{marker}, names - {manifest}, {manifest}, {marker}]
        program = "import sys; from qloc.store.exchange.push import push; push(*sys.argv[1:])"
        done = on_the_hub(program, (small, HUB + "2"), HF_TOKEN="", **home)
        assert "RemoteError: service is " in done.stderr
        assert "401" in done.stderr.splitlines()[-1]
        assert len(hub.commits) == 4


def test_the_hub_offline(small):
    with pytest.raises(RemoteError, match=r"(?i)offline"):
        push(small, HUB)
