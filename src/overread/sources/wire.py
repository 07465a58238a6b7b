"""One polite conversation with a web server of a hospital: tried again when it is busy, never led astray, never flooded.

References
----------
RFC 9110 (HTTP semantics: 10.2.3 Retry-After, 15.4 redirection).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from overread import __version__
from overread.errors import SourceError
from overread.sources.keys import Keys, authorization, tls
from overread.sources.shelf import Gone

LARGEST_JSON = 64 << 20
TRIES = 5
_LONGEST_WAIT_S = 60.0
_BUSY = (429, 502, 503, 504)
_MOVED = (301, 302, 307, 308)
_REDIRECTS = 3
_NOBODY = (ConnectionRefusedError, socket.gaierror)
_LOST = (http.client.HTTPException, ConnectionError, TimeoutError, socket.gaierror, ssl.SSLEOFError)


class Lost(Gone):
    """An answer that ended too early: worth another try."""


class Wire:
    """A connection to one server; it is used by one thread at a time.

    Parameters
    ----------
    base : str
        "https://pacs.example/dicom-web"
    keys : Keys
    timeout_s : float
        Of silence.
    wait : callable
        Waits some seconds; returns True when one should rather stop.
    """

    def __init__(self, base: str, *, keys: Keys, timeout_s: float, wait: Callable[[float], object]) -> None:
        self._parts = urllib.parse.urlsplit(base)
        self._timeout_s, self._wait = timeout_s, wait
        self._context = tls(keys) if self._parts.scheme == "https" else None
        login = authorization(keys.login)
        self._headers = {"User-Agent": f"overread/{__version__}"} | ({"Authorization": login} if login else {})
        self._connection: http.client.HTTPConnection | None = None
        self._over = False
        self._met = False  # nobody at the very first call is a wrong address, not a bad moment

    def close(self) -> None:
        """Hang up; the next question calls again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def end(self) -> None:
        """Hang up for good, from any thread; one that waits for an answer hears so at once."""
        self._over = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):  # the other side was faster
                connection.sock.shutdown(socket.SHUT_RDWR)

    def json(self, path: str, question: Iterable[tuple[str, str]] = ()) -> list[dict[str, Any]]:
        """Return a QIDO-RS answer: a list of data sets in the DICOM JSON model; [] when nothing matches.

        Raises
        ------
        SourceError
            When there is no service, no leave, or no such answer.
        """
        target = f"{path}?{urllib.parse.urlencode(list(question), safe='*?')}" if question else path

        def read(response: http.client.HTTPResponse) -> list[dict[str, Any]]:
            if response.status == 204:
                return []
            expect_type(response, "application/dicom+json", "application/json")
            body = response.read(LARGEST_JSON + 1)
            if len(body) > LARGEST_JSON:
                raise SourceError(
                    f"an answer of more than {LARGEST_JSON >> 20} MiB", expected="a page of a list", do="ask for less"
                )
            if response.length:
                raise Lost("half an answer")
            try:
                told = json.loads(body)
            except (ValueError, RecursionError):
                raise Lost(f"an answer of {len(body):,} bytes that is no JSON") from None
            if not isinstance(told, list) or not all(isinstance(each, dict) for each in told):
                raise SourceError(
                    "an answer that is no list of data sets", expected="DICOM JSON", do="check the address"
                )
            return told

        return self.ask(target, accept="application/dicom+json", read=read)

    def ask(
        self, target: str, *, accept: str, read: Callable[[http.client.HTTPResponse], Any], whole: bool = True
    ) -> Any:
        """Ask until there is an answer, five times at most, ever more slowly.

        Parameters
        ----------
        target : str
            Below the base.
        accept : str
            Media types.
        read : callable
            Takes the answer's body; it may be called again when an earlier try was cut short.
        whole : bool
            False: what was cut short is not asked for again (the caller asks for what is missing instead).

        Raises
        ------
        Gone
            404 below the base, or an answer that never came whole.
        SourceError
            The server cannot be reached, is busy for long, or lets nobody in.
        """
        lost: Exception | None = None
        for tried in range(TRIES):
            if tried and self._wait(self._pause(tried, lost)):
                raise SourceError("stopped while a server was busy", do="run the same command again to go on")
            try:
                with self._answer(target, accept) as response:
                    return read(response)
            except (*_LOST, _Busy, Lost) as error:
                lost = error
                self.close()
                if (isinstance(error, Lost) and not whole) or (isinstance(error, _NOBODY) and not self._met):
                    break
        if isinstance(lost, Lost):
            raise Gone(
                f"{lost.came}{f', {tried + 1} times' if tried else ''}",
                expected="a whole one",
                do="run the same command again later",
            )
        raise SourceError(
            f"{self._where()}: {_in_words(lost)}{f', {tried + 1} times' if tried else ''}",
            expected="a DICOMweb server that answers",
            do="check host and port, or run the same command again later: what was fetched is kept",
        )

    def _pause(self, tried: int, lost: Exception | None) -> float:
        said = lost.seconds if isinstance(lost, _Busy) else 0.0
        return min(max(said, 0.25 * 2**tried), _LONGEST_WAIT_S)

    @contextmanager
    def _answer(self, target: str, accept: str) -> Iterator[http.client.HTTPResponse]:
        """Send one request, follow the server on its own ground, and refuse what is no answer."""
        path = f"{self._parts.path.rstrip('/')}/{target}"
        for _ in range(_REDIRECTS + 1):
            connection = self._connected()
            try:
                connection.request("GET", path, headers={**self._headers, "Accept": accept})
                response = connection.getresponse()
                self._met = True
            except ssl.SSLCertVerificationError as error:
                raise self._untrusted(error.verify_message) from None
            except ssl.SSLEOFError:
                raise
            except ssl.SSLError as error:
                raise SourceError(
                    f"{self._where()} does not speak TLS with us ({error.reason or 'no reason given'})",
                    expected="TLS 1.2 or newer, and our certificate where it asks for one",
                    do="check port and cert=, or write http:// where the network itself is private",
                ) from None
            if response.status not in _MOVED:
                break
            response.close()
            self.close()
            path = self._moved(response)
        else:
            raise SourceError(f"more than {_REDIRECTS} redirects", expected="an answer", do="check the address")
        try:
            self._check(response, at_base=target.split("?")[0] == "studies")
            yield response
        finally:
            if not response.isclosed():
                response.close()
                self.close()  # what was not read would be taken for the next answer

    def _connected(self) -> http.client.HTTPConnection:
        if self._over:
            raise SourceError("stopped", do="run the same command again to go on")
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._context is not None:
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout_s, context=self._context
                )
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return self._connection

    def _moved(self, response: http.client.HTTPResponse) -> str:
        """Return where a redirect leads, when that is the same server."""
        here = self._parts.geturl()
        there = urllib.parse.urlsplit(urllib.parse.urljoin(here, response.headers.get("Location", "")))
        if (there.scheme, there.netloc) != (self._parts.scheme, self._parts.netloc):
            raise SourceError(
                f"{self._where()} sends us elsewhere (a redirect to {there.scheme or 'nothing'})",
                expected="an answer of its own",
                do="give the address that it really has",
            )
        return urllib.parse.urlunsplit(("", "", there.path, there.query, ""))

    def _check(self, response: http.client.HTTPResponse, *, at_base: bool) -> None:
        status = response.status
        if status in (200, 204, 206):
            return
        if status in _BUSY:
            raise _Busy(status, response.headers.get("Retry-After", ""))
        if status in (401, 403):
            raise SourceError(
                f"{self._where()} does not let us in ({status})", expected="a login it knows", do="give login=FILE"
            )
        if status == 404 and at_base:
            raise SourceError(
                f"{self._where()} has no DICOMweb at this path (404)",
                expected="the service's own address, such as https://HOST/dicom-web",
                do="ask who runs the server",
            )
        if status in (404, 410):
            raise Gone(f"a series that is no longer there ({status})", expected="what was listed", do="ask again")
        if status >= 500:
            raise Lost(f"an error of the server ({status})")
        raise SourceError(
            f"{self._where()} answers {status}", expected="200", do="check the address and the words after it"
        )

    def _untrusted(self, why: str) -> SourceError:
        return SourceError(
            f"{self._where()} is not who it says, or its certificate is not trusted ({why})",
            expected="a certificate that a trusted authority has signed for this name",
            do="give the hospital's own authority with ca=FILE; overread never goes on unchecked",
        )

    def _where(self) -> str:
        return f"{self._parts.hostname}:{self._parts.port}" if self._parts.port else str(self._parts.hostname)


class _Busy(Exception):
    """A server that asks to come back later."""

    def __init__(self, status: int, said: str) -> None:
        self.seconds = float(said) if said.strip().isdecimal() else 0.0
        super().__init__(f"busy ({status})")


def expect_type(response: http.client.HTTPResponse, *types: str) -> None:
    """Refuse an answer of another media type, such as a login page."""
    came = response.headers.get_content_type()
    if came not in types:
        raise SourceError(
            f"an answer of type {came[:60]}",
            expected=" or ".join(types),
            do="check the address: this may be a login page",
        )


def _in_words(error: Exception | None) -> str:
    """Say what the network said; a timeout has no words of its own."""
    if isinstance(error, TimeoutError):
        return "no answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
