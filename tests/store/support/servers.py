"""Servers on loopback: plain HTTP that counts, fails or lies on request; one that speaks S3; a Hugging Face Hub."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import logging
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # joined when it closes: no socket is left to the garbage collector

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        pass  # clients that hang up are part of the tests


class FileServer(_Server):
    """Files of a folder over HTTP; counts requests, fails or lies on request.

    Attributes
    ----------
    asked : list of (path, Range header)
        Every request so far.
    contents : dict of str to bytes
        What is sent in place of a file, by path.
    dies_after : int
        No request after this many is answered.
    pause : float
        Seconds that each request takes at least.
    most : int
        Largest number of requests waited for at the same time.
    chunked : bool
        Whether files are sent without their length, in chunks.
    ends_early : bool
        Whether the last of these chunks is cut.
    drip : float
        Seconds between two bytes that are sent; 0 sends them at once.
    """

    def __init__(self, folder: Path, *, ranges: bool) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
        self.folder, self.ranges = folder, ranges
        self.asked: list[tuple[str, str | None]] = []
        self.contents: dict[str, bytes] = {}
        self.dies_after, self.pause = 10**9, 0.0
        self.counting, self.busy, self.most = threading.Lock(), 0, 0
        self.chunked, self.ends_early, self.drip = False, False, 0.0


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with byte ranges unless the server has none."""

    server: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.server.counting:
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
        time.sleep(self.server.pause)
        with self.server.counting:
            self.server.busy -= 1
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if len(self.server.asked) > self.server.dies_after:
            self.close_connection = True
            return
        path = self.translate_path(self.path)
        replaced = self.server.contents.get(self.path)
        odd = self.server.chunked or self.server.drip
        if replaced is None and not (wanted and self.server.ranges) and not odd:
            super().do_GET()
            return
        try:
            content = replaced if replaced is not None else Path(path).read_bytes()
        except OSError:
            self.send_error(404)
            return
        if self.server.chunked:
            self._in_chunks(content)
            return
        status, first, last = 200, 0, len(content) - 1
        if wanted and self.server.ranges:
            start, stop = wanted.removeprefix("bytes=").split("-")
            status, first, last = 206, int(start), min(int(stop or last), last)
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if self.server.drip:
            for byte in content[first : last + 1]:
                time.sleep(self.server.drip)
                self.wfile.write(bytes([byte]))
        else:
            self.wfile.write(content[first : last + 1])

    def do_HEAD(self) -> None:
        if self.server.chunked:
            self._in_chunks(b"")
        else:
            super().do_HEAD()

    def _in_chunks(self, content: bytes) -> None:
        self.protocol_version, self.close_connection = "HTTP/1.1", True
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            step = 1 if self.server.drip else 5000
            for start in range(0, len(content), step):
                piece = content[start : start + step]
                time.sleep(self.server.drip)
                if self.server.ends_early and start + step >= len(content):
                    self.wfile.write(b"%x\r\n%s" % (len(piece), piece[:1]))
                    return
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")


S = TypeVar("S", bound=_Server)


@contextmanager
def _running(server: S) -> Iterator[S]:
    """Serve in a thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def http_server(folder: Path, *, ranges: bool = True) -> Iterator[FileServer]:
    """Yield a server of a folder's files, with or without byte ranges."""
    with _running(FileServer(folder, ranges=ranges)) as server:
        yield server


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the endpoint of an S3 server with the bucket `bucket`."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")):
            yield endpoint
    finally:
        server.stop()


def environment(endpoint: str) -> dict[str, str]:
    """Return what a client of that endpoint finds in its environment."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }


class HubServer(_Server):
    """A Hugging Face Hub: `files` has the contents of its dataset by name, `commits` what each commit named."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.files: dict[str, bytes] = {".gitattributes": b""}
        self.commits: list[list[str]] = []


class _HubHandler(http.server.BaseHTTPRequestHandler):
    """The endpoints of the Hugging Face Hub that a dataset repository me/facts needs."""

    server: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, content: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._answer(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *headers))

    def do_GET(self) -> None:
        path, query = urllib.parse.urlsplit(self.path)[2:4]
        path = urllib.parse.unquote(path)
        files, repository = self.server.files, "/api/datasets/me/facts"
        if path in (repository, f"{repository}/revision/main"):
            self._json({"id": "me/facts", "sha": "0" * 40, "siblings": [], "private": False})
        elif path.startswith(f"{repository}/tree/main"):
            above = path.removeprefix(f"{repository}/tree/main").strip("/")
            above += "/" if above else ""
            inside = [name for name in sorted(files) if name.startswith(above)]
            deep = "recursive=true" in query.lower()
            listed = [
                _file(name, files[name]) for name in inside if deep or "/" not in name.removeprefix(above)
            ]
            folders = {
                above + name.removeprefix(above).partition("/")[0]
                for name in inside
                if "/" in name.removeprefix(above)
            }
            listed += [
                {"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in sorted(folders)
            ]
            self._json(listed) if listed else self._missing()
        elif path.startswith("/datasets/me/facts/resolve/main/"):
            self._file(path.removeprefix("/datasets/me/facts/resolve/main/"))
        else:
            self._json({"error": "Repository not found"}, 404, [("X-Error-Code", "RepoNotFound")])

    do_HEAD = do_GET

    def _missing(self) -> None:
        self._json({"error": "Entry not found"}, 404, [("X-Error-Code", "EntryNotFound")])

    def _file(self, name: str) -> None:
        if name not in self.server.files:
            self._missing()
            return
        content, wanted = self.server.files[name], self.headers.get("Range")
        headers = [("ETag", f'"{_blob(content)}"'), ("X-Repo-Commit", "0" * 40)]
        if wanted:
            start, stop = wanted.removeprefix("bytes=").split("-")
            first, last = int(start), min(int(stop or len(content)), len(content) - 1)
            headers.append(("Content-Range", f"bytes {first}-{last}/{len(content)}"))
            self._answer(206, content[first : last + 1], headers)
        else:
            self._answer(200, content, headers)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_token":
            self._json({"error": "Invalid username or password."}, 401)
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(sent)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self._json({"files": modes})
        elif "/commit/" in self.path:
            self.server.commits.append([])
            for line in sent.splitlines():
                self._apply(**json.loads(line))
            self._json(
                {
                    "success": True,
                    "commitOid": "0" * 40,
                    "commitUrl": f"{self.server.url}/datasets/me/facts/commit/0",
                    "hookOutput": "",
                }
            )
        else:
            self._json({"errors": [], "warnings": []})

    def _apply(self, key: str, value: dict[str, str]) -> None:
        if key == "file":
            self.server.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "deletedFile":
            del self.server.files[value["path"]]
        if key != "header":
            self.server.commits[-1].append(value["path"])


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _file(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Yield a Hub with the empty dataset me/facts."""
    with _running(HubServer()) as server:
        yield server
