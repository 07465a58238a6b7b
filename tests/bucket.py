"""An S3 server on this machine, and a bad line in front of it: both real, over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from overread.sources import s3

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEOFATEST", "AWS_SECRET_ACCESS_KEY": "averysecretkeythatisnevershown"}

_SAID = {"503": "SlowDown", "403": "AccessDenied", "400": "ExpiredToken", "409": "ConditionalRequestConflict"}

Spoil = Callable[[str], str]
"""Given the path of a request, returns what happens to it: "" (nothing), "503", "400" (expired), "409" (crowded), "cut", "silence"."""


class Service:
    """The server, and the line to it, on which a test may spoil requests."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line a request otherwise
        self.server = ThreadedMotoServer(port=0, verbose=False)
        self.server.start()
        self.there = self.server.get_host_and_port()
        self.spoil: Spoil = lambda path: ""
        self.forbidden: set[str] = set()  # methods that are answered with 403
        self.asked: list[str] = []
        self.line = ThreadingHTTPServer(("127.0.0.1", 0), _line_to(self))
        self.line.daemon_threads = True
        threading.Thread(target=self.line.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.line.server_port}"

    def gets(self) -> list[str]:
        """Return the objects asked for since this was last asked, in order."""
        found = [path.partition("?")[0] for path in self.asked if "list-type" not in path]
        self.asked.clear()
        return found

    def end(self) -> None:
        self.line.shutdown()
        self.line.server_close()
        self.server.stop()


@contextlib.contextmanager
def new_bucket(service: Service, monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[str]:
    """Make an empty bucket, with a good line and the way to it in the environment, as for any other program."""
    for variable, value in (KEYS | {"AWS_ENDPOINT_URL": service.address, "AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(s3, "_PAUSE_S", 0.01)
    service.spoil = lambda path: ""
    service.forbidden = set()
    s3._client.cache_clear()
    s3.client().create_bucket(Bucket=name)
    yield name
    s3._client.cache_clear()


def _line_to(service: Service) -> type[BaseHTTPRequestHandler]:
    class Line(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            try:
                self.passed_on()
            except ConnectionError:  # who asked was killed
                self.close_connection = True

        def passed_on(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size) or None
            if size and len(body or b"") < size:
                raise ConnectionError("half a request")
            what = service.spoil(self.path)
            service.asked.append(self.path)
            what = "403" if self.command in service.forbidden else what
            if what in _SAID:
                told = f"<Error><Code>{_SAID[what]}</Code><Message>As a test wants it.</Message></Error>".encode()
                self.answer(int(what), {"Content-Type": "application/xml"}, told, len(told))
                return
            if what == "silence":
                threading.Event().wait(1.2)
                self.close_connection = True
                return
            with contextlib.closing(http.client.HTTPConnection(*service.there, timeout=20)) as there:
                there.request(self.command, self.path, body, dict(self.headers))
                got = there.getresponse()
                body = got.read()
            told = {k: v for k, v in got.getheaders() if k.lower() not in ("content-length", "connection", "server")}
            length = int(got.getheader("Content-Length") or len(body)) if self.command == "HEAD" else len(body)
            self.answer(got.status, told, body[: len(body) // 2] if what == "cut" else body, length)
            self.close_connection = what == "cut"

        def answer(self, status: int, headers: dict[str, str], body: bytes, length: int) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        def log_message(self, *_: Any) -> None:
            """Say nothing: the tests look at what was asked."""

    return Line
