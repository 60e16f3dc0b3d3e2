"""Servers on loopback: a plain HTTP server that counts, fails or lies on request; and one that speaks S3."""

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
from contextlib import contextmanager
from pathlib import Path


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with byte ranges unless the server has none."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        with self.server.counting:
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
        time.sleep(self.server.pause)
        with self.server.counting:
            self.server.busy -= 1
        self.server.asked.append((self.path, self.headers.get("Range")))
        if len(self.server.asked) > self.server.dies_after:
            self.close_connection = True
            return
        path = self.translate_path(self.path)
        replaced = self.server.contents.get(self.path)
        wanted = self.headers.get("Range")
        if replaced is None and not (wanted and self.server.ranges):
            super().do_GET()
            return
        try:
            content = replaced if replaced is not None else Path(path).read_bytes()
        except OSError:
            self.send_error(404)
            return
        status, first, last = 200, 0, len(content) - 1
        if wanted and self.server.ranges:
            a, b = wanted.removeprefix("bytes=").split("-")
            status, first, last = 206, int(a), min(int(b or last), last)
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(content[first : last + 1])


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # joined when it closes: no socket is left to the garbage collector

    def handle_error(self, *_):
        pass  # clients that hang up are part of the tests


@contextmanager
def http_server(folder, *, ranges=True):
    """Yield a server with `url`; `asked` has what was asked, `contents` lies, `dies_after` so many requests.

    `most` is how many were waited for at the same time; each takes `pause` seconds at least.
    """
    server = _Server(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.asked, server.contents, server.ranges, server.dies_after, server.pause = [], {}, ranges, 10**9, 0
    server.counting, server.busy, server.most = threading.Lock(), 0, 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def s3_server():
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


def environment(endpoint):
    """Return what a client of that endpoint finds in its environment."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }


class _HubHandler(http.server.BaseHTTPRequestHandler):
    """The endpoints of the Hugging Face Hub that a dataset repository me/facts needs."""

    def log_message(self, *_):
        pass

    def _answer(self, status, content, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value, status=200, headers=()):
        self._answer(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *headers))

    def do_GET(self):
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

    def _missing(self):
        self._json({"error": "Entry not found"}, 404, [("X-Error-Code", "EntryNotFound")])

    def _file(self, name):
        if name not in self.server.files:
            self._missing()
            return
        content, wanted = self.server.files[name], self.headers.get("Range")
        told = [("ETag", f'"{_blob(content)}"'), ("X-Repo-Commit", "0" * 40)]
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            first, last = int(first), min(int(last or len(content)), len(content) - 1)
            told.append(("Content-Range", f"bytes {first}-{last}/{len(content)}"))
            self._answer(206, content[first : last + 1], told)
        else:
            self._answer(200, content, told)

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_token":
            self._json({"error": "Invalid username or password."}, 401)
        elif "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(sent)["files"]]
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

    def _apply(self, key, value):
        if key == "file":
            self.server.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "deletedFile":
            del self.server.files[value["path"]]
        if key != "header":
            self.server.commits[-1].append(value["path"])


def _blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _file(name, content):
    return {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}


@contextmanager
def hub_server():
    """Yield a Hub with the empty dataset me/facts; `files` and `commits` tell what is in it."""
    server = _Server(("127.0.0.1", 0), _HubHandler)
    server.files, server.commits = {".gitattributes": b""}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
