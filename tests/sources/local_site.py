"""A web site on this computer that behaves as badly as real ones do; it counts what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Reply:
    """What the site says: ``length`` lies about the size of the body, ``endless`` never stops, ``hang_up`` says nothing."""

    body: bytes = b""
    status: int = 200
    head: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    no_length: bool = False
    endless: bool = False
    hang_up: bool = False


@dataclass(frozen=True)
class Asked:
    """One request as it came: its path with the query, the form sent, its headers."""

    path: str
    form: Mapping[str, str]
    head: Mapping[str, str]


class Site:
    """Serves what ``pages`` says; a list of replies is given out one by one, the last for ever.

    Use it as a context; ``address`` ends with a slash, ``asked`` holds every request.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Reply | list[Reply] | Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                form = parse_qs(self.rfile.read(size).decode(), keep_blank_values=True)
                asked = Asked(self.path, {k: v[0] for k, v in form.items()}, dict(self.headers))
                site.asked.append(asked)
                self.answer(site.reply(asked))

            do_POST = do_GET

            def answer(self, reply: Reply) -> None:
                if reply.hang_up:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.head.items():
                    self.send_header(name, value)
                if not reply.no_length and not reply.endless:
                    self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
                self.end_headers()
                try:
                    self.wfile.write(reply.body)
                    until = time.monotonic() + 20
                    while reply.endless and time.monotonic() < until:
                        self.wfile.write(bytes(1 << 16))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the visitor had enough, which is what these tests want to see

            def log_message(self, *words: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def reply(self, asked: Asked) -> Reply:
        """Return what is said to a request: by its path with the query, else by its path, else 404."""
        said = self.pages.get(asked.path) or self.pages.get(unquote(urlsplit(asked.path).path))
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        if callable(said):
            said = said(asked)
        return said or Reply(b"<html>not found</html>", status=404)

    def count(self, word: str) -> int:
        """How often a path with this word in it was asked for."""
        return sum(word in asked.path for asked in self.asked)

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Clock:
    """A clock that only moves when someone sleeps: what would take minutes takes no time, and can be read off."""

    def __init__(self) -> None:
        self.time, self.slept = 1000.0, []

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
