"""Servers on loopback: a plain HTTP server that counts, fails or lies on request; and one that speaks S3."""

from __future__ import annotations

import functools
import http.server
import logging
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with byte ranges unless the server has none."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        time.sleep(self.server.pause)
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
    """Yield a server with `url`; `asked` has what was asked, `contents` lies, `dies_after` so many requests."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.asked, server.contents, server.ranges, server.dies_after, server.pause = [], {}, ranges, 10**9, 0
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
