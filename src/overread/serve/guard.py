"""Who may talk to the reading page: this server's own pages, opened by a browser that reached it by its own name.

A page on the internet can send requests to ``127.0.0.1`` through the doctor's own browser, and can even give its
own name that address (DNS rebinding). So the ``Host`` must be ours, a ``POST`` must come from our ``Origin`` and
carry the token of the session, and the browser is told to load nothing from anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_FORM = 64 * 1024
COOKIE = "overread_session"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make browsers send "Origin: null" with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Refuse strangers before any page is asked, and put the protecting headers on every answer.

    Parameters
    ----------
    app : ASGI application
    hosts : iterable of str
        Names this server answers to, without the port.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = frozenset(h.strip("[]").casefold() for h in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self.refusal(scope["method"], Headers(scope=scope))
        answer = self.app if refusal is None else PlainTextResponse(refusal[1], status_code=refusal[0])
        await answer(scope, receive, guarded)

    def refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """(status, reason) when this request must not go on.

        Examples
        --------
        >>> guard = Guard(None, hosts=["127.0.0.1"])
        >>> guard.refusal("GET", {"host": "127.0.0.1:8080"})
        >>> guard.refusal("GET", {"host": "rebound.example"})
        (400, 'unknown host')
        >>> guard.refusal("POST", {"host": "127.0.0.1:8080", "origin": "http://evil.example", "content-length": "1"})
        (403, 'a request from another place')
        """
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name.casefold() not in self.hosts:
            return 400, "unknown host"
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return 405, "only GET and POST are known here"
        origin = urlsplit(headers.get("origin", ""))
        if origin.scheme not in ("http", "https") or origin.netloc.casefold() != host.casefold():
            return 403, "a request from another place"
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LARGEST_FORM:
            return 413, "a form that is too large, or does not say how large it is"
        return None


def new_session(reader: str = "") -> dict[str, str]:
    """A fresh session; a new one for each reader, so that no token outlives a change of reader."""
    return {"id": secrets.token_urlsafe(16), "reader": reader}


def seal(key: bytes, session: Mapping[str, str]) -> str:
    """The session as a cookie that only this server can have written."""
    body = base64.urlsafe_b64encode(json.dumps(dict(session), ensure_ascii=False).encode()).decode().rstrip("=")
    return f"{body}.{_mac(key, 'session', body)}"


def unseal(key: bytes, cookie: str) -> dict[str, str] | None:
    """The session in a cookie; None when it is missing or was not written by this server.

    Examples
    --------
    >>> unseal(b"k", seal(b"k", {"id": "1", "reader": "Curie^Marie"}))["reader"]
    'Curie^Marie'
    >>> unseal(b"other", seal(b"k", {"id": "1", "reader": ""})) is None
    True
    """
    body, _, mac = cookie.rpartition(".")
    if not body or not hmac.compare_digest(mac.encode(), _mac(key, "session", body).encode()):
        return None
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def token(key: bytes, session: Mapping[str, str]) -> str:
    """The secret that each form of this session must carry."""
    return _mac(key, "form", session["id"])


def token_fits(key: bytes, session: Mapping[str, str], given: str) -> bool:
    """True when a form carries its session's token."""
    return hmac.compare_digest(token(key, session).encode(), given.encode())


def _mac(key: bytes, purpose: str, text: str) -> str:
    return hmac.new(key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()
