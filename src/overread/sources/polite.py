"""Ask other people's computers politely: slowly, once, under our own name, and never more than we can use.

What politeness means here, and every part of it is tested: a pause between two requests to one host; ``robots.txt`` is
read and obeyed, with its Crawl-delay; "429, come back in 30 seconds" is obeyed; a site that is down is tried four
times, ever more slowly, and then left alone; what was fetched is kept and not asked for again; the user agent says who
asks and how to reach them; an answer has a largest size and a longest time.

References
----------
RFC 9110 (HTTP: Retry-After 10.2.3, Range and If-Range 13.1.5 and 14), RFC 9309 (robots.txt).
"""

from __future__ import annotations

import os
import re
import time
import urllib.parse
import urllib.request
import urllib.robotparser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, IncompleteRead
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from overread.errors import SourceError, UnreadableFile
from overread.sources.answers import (
    BUSY,
    MOVED,
    Answer,
    host_of,
    in_words,
    let_in,
    next_address,
    part_begins_at,
    seconds_to_wait,
    too_large,
    user_agent,
    validator,
    web_address,
)
from overread.sources.kept import Pages, about, forget, resume, write_json
from overread.sources.manners import Manners

LARGEST_PAGE = 8 << 20
_CHUNK = 1 << 16


class _Broken(Exception):
    """An answer that ended too early or never came: worth another try."""


class _AsItCame(urllib.request.HTTPErrorProcessor):
    """Hand over every status as an answer; what follows from it is decided here, not in the library."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response

    https_response = http_response


@dataclass
class Session:
    """A visit to other computers, with one memory for pauses, cookies and pages.

    Parameters
    ----------
    cache : Path or None
        The folder pages are kept in; None keeps nothing.
    manners : Manners
    clock, sleep, now : callables
        Monotonic seconds, waiting, and seconds since 1970; tests give their own, and never sleep.
    tell : callable
        Hears why it takes long.
    """

    cache: Path | None = None
    manners: Manners = field(default_factory=Manners)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    tell: Callable[[str], None] = lambda line: None
    asked: int = 0

    def __post_init__(self) -> None:
        self._agent = user_agent(self.manners.contact)
        self._opener = urllib.request.OpenerDirector()  # no file:, no ftp:, no data: — only these can be opened at all
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPCookieProcessor(CookieJar()),
            _AsItCame(),
        ):
            self._opener.add_handler(handler)
        self._pages = Pages(self.cache, days=self.manners.keep_days, days_missing=self.manners.keep_missing_days)
        self._free_at: dict[str, float] = {}
        self._rules: dict[str, urllib.robotparser.RobotFileParser | None] = {}

    # -- what a caller asks for -----------------------------------------------------------------------------------

    def page(
        self,
        address: str,
        *,
        fields: Mapping[str, str] | None = None,
        keep: bool = True,
        whole: Callable[[bytes], bool] = lambda content: b"</html" in content[-4096:].lower(),
    ) -> Answer:
        """Return a page, from the cache where it is young enough.

        Parameters
        ----------
        address : str
        fields : mapping, optional
            Sent as a form (POST); such an answer depends on the conversation and is never kept.
        keep : bool
        whole : callable
            Says whether the bytes are a whole page; half a page is asked for again.

        Raises
        ------
        UnreadableFile
            ``cut-short``, ``too-large``, ``bad-redirect``, ``robots``: this address has no answer for us.
        SourceError
            The site is down, busy for longer than we wait, or lets no program in.
        """
        kept = self._pages.get(address, now=self.now()) if keep and fields is None else None
        if kept is not None:
            return kept
        body = None if fields is None else urllib.parse.urlencode(fields).encode()

        def read(response: HTTPResponse, came_from: str) -> Answer:
            content = b"".join(self._chunks(response, largest=LARGEST_PAGE))
            if response.status == 200 and not whole(content):
                raise _Broken(f"half a page of {len(content):,} bytes")
            return Answer(response.status, came_from, content)

        answer = self._try(address, read, body=body)
        if keep and fields is None:
            self._pages.put(address, answer, now=self.now())
        return answer

    def file(
        self,
        address: str,
        to: Path,
        *,
        largest: int,
        fields: Mapping[str, str] | None = None,
        looks_right: Callable[[bytes], bool] = lambda head: True,
        moved: Callable[[int], object] = lambda size: None,
    ) -> Answer:
        """Download a file to ``to``, going on where a killed run stopped if the site can do that.

        Until it is whole it is called ``<to>.part``; a name without ``.part`` is a whole file.

        Parameters
        ----------
        address : str
        to : Path
        largest : int
            Bytes.
        fields : mapping, optional
            Sent as a form.
        looks_right : callable
            Says of the first bytes whether this is what was wanted: a site may answer 200 with a page of regret.
        moved : callable
            Is given the size of every piece, for a progress bar.

        Returns
        -------
        Answer
            Without content; ``missing`` where there is nothing.

        Raises
        ------
        UnreadableFile
            As :meth:`page`, and ``other-content`` where the first bytes are not what was wanted.
        SourceError
            As :meth:`page`.
        """
        part = to.with_name(to.name + ".part")
        body = None if fields is None else urllib.parse.urlencode(fields).encode()

        def read(response: HTTPResponse, came_from: str) -> Answer:
            if response.status not in (200, 206):
                if response.status == 416:  # what lies here is longer than what lies there: from the start again
                    forget(part)
                    raise _Broken("a file that changed")
                return Answer(response.status, came_from)
            begin = part_begins_at(response) if response.status == 206 else 0
            if response.status == 206 and begin != (part.stat().st_size if part.exists() else 0):
                forget(part)
                raise _Broken("another part than was asked for")
            write_json(about(part), {"address": address, "if": validator(response)})
            with open(part, "r+b" if begin else "wb") as out:
                out.seek(begin)
                for n, piece in enumerate(self._chunks(response, largest=largest - begin)):
                    if n == 0 and begin == 0 and not looks_right(piece[:64]):
                        raise UnreadableFile("something else than was asked for", code="other-content")
                    out.write(piece)
                    moved(len(piece))
                out.flush()
                os.fsync(out.fileno())
            return Answer(200, came_from)

        try:
            answer = self._try(address, read, body=body, head=lambda: resume(part, address) if body is None else {})
        except UnreadableFile as refusal:
            if refusal.code != "cut-short":  # what came of it is good, and another run goes on there
                forget(part)
            raise
        if answer.status == 200:
            os.replace(part, to)
            about(part).unlink(missing_ok=True)
        return answer

    # -- one request, as often as it takes ------------------------------------------------------------------------

    def _try(
        self,
        address: str,
        read: Callable[[HTTPResponse, str], Answer],
        *,
        body: bytes | None = None,
        head: Callable[[], Mapping[str, str]] = dict,
        obey: bool = True,
    ) -> Answer:
        """Ask until there is an answer, or it is not worth asking again."""
        address = web_address(address)
        for tried in range(1, self.manners.tries + 1):
            try:
                answer = self._follow(address, read, body=body, head=head, obey=obey)
            except (_Broken, OSError, HTTPException) as error:
                why = str(error) if isinstance(error, _Broken) else in_words(error)
                broken = isinstance(error, (_Broken, IncompleteRead))
            else:
                if answer.status not in BUSY:
                    return let_in(answer)
                why, broken = f"an answer of {answer.status}", False
            if tried < self.manners.tries:
                wait = self.manners.pause_s * 2**tried
                self._hold(address, wait)
                self.tell(f"{host_of(address)}: {why}; try {tried + 1} of {self.manners.tries}")
        if broken:
            raise UnreadableFile(
                f"{why}, {self.manners.tries} times", code="cut-short", expected="all of it", do="try again later"
            )
        raise SourceError(
            f"{host_of(address)}: {why}, {self.manners.tries} times",
            expected="a site that answers",
            do="run the same command again later: what was fetched is kept",
        )

    def _follow(
        self,
        address: str,
        read: Callable[[HTTPResponse, str], Answer],
        *,
        body: bytes | None,
        head: Callable[[], Mapping[str, str]],
        obey: bool,
    ) -> Answer:
        """Send one request and follow where it is sent to, a few times, and only to http and https."""
        for _ in range(self.manners.redirects + 1):
            if obey and self.manners.robots:
                self._ask_leave(address)
            with self._open(address, body=body, head=head()) as response:
                if response.status in BUSY:
                    self._obey_retry_after(address, response)
                    return Answer(response.status, address)
                there = response.headers.get("Location")
                if response.status not in MOVED or not there:
                    return read(response, address)
                if response.status not in (307, 308):
                    body = None
                address = next_address(address, there)
        raise UnreadableFile(
            f"more than {self.manners.redirects} redirects", code="bad-redirect", expected="an answer", do="look it up"
        )

    def _open(self, address: str, *, body: bytes | None, head: Mapping[str, str]) -> HTTPResponse:
        """Wait for our turn, and ask."""
        host = host_of(address)
        wait = self._free_at.get(host, self.clock()) - self.clock()
        if wait > 0:
            self.sleep(wait)
        request = urllib.request.Request(address, data=body, headers={"User-Agent": self._agent, **head})
        self.asked += 1
        try:
            return self._opener.open(request, timeout=self.manners.silence_s)
        finally:
            self._hold(address, self._pause(host))

    def _chunks(self, response: HTTPResponse, *, largest: int) -> Iterator[bytes]:
        """Yield an answer's bytes; too many of them, too slow or too few are not passed on as a whole."""
        said = response.headers.get("Content-Length", "")
        length = int(said) if said.isdecimal() else None
        if length is not None and length > largest:
            raise too_large(length, largest)
        got, began = 0, self.clock()
        while piece := response.read(_CHUNK):
            got += len(piece)
            if got > largest:
                raise too_large(got, largest)
            if self.clock() - began > self.manners.longest_s:
                raise _Broken(f"an answer not ended after {self.manners.longest_s:.0f} s")
            yield piece
        if length is not None and got < length:
            raise _Broken(f"{got:,} of {length:,} bytes")

    # -- manners --------------------------------------------------------------------------------------------------

    def _hold(self, address: str, seconds: float) -> None:
        """Leave a host alone for so long, counted from now."""
        host = host_of(address)
        self._free_at[host] = max(self._free_at.get(host, 0.0), self.clock() + seconds)

    def _pause(self, host: str) -> float:
        rules = self._rules.get(host)
        asked_for = rules.crawl_delay("overread") if rules is not None else None
        return max(self.manners.pause_s, min(float(asked_for or 0), 60.0))

    def _obey_retry_after(self, address: str, response: HTTPResponse) -> None:
        seconds = seconds_to_wait(response.headers.get("Retry-After", ""), now=self.now())
        if seconds > self.manners.longest_wait_s:
            raise SourceError(
                f"{host_of(address)} asks to be left alone for {seconds:,.0f} s",
                expected=f"at most {self.manners.longest_wait_s:,.0f} s",
                do="run the same command again after that time: what was fetched is kept",
            )
        if seconds > 0:
            self.tell(f"{host_of(address)} asks to wait {seconds:,.0f} s")
            self._hold(address, seconds)

    def _ask_leave(self, address: str) -> None:
        """Read a host's ``robots.txt`` once, and refuse what it asks programs not to fetch (RFC 9309)."""
        host = host_of(address)
        if host not in self._rules:
            self._rules[host] = self._read_robots(address)
        rules = self._rules[host]
        plain = urllib.parse.urlsplit(address)
        plain = urllib.parse.urlunsplit(plain._replace(path=re.sub("/+", "/", plain.path)))  # "//x" is "/x" to a server
        if rules is not None and not all(rules.can_fetch("overread", a) for a in (address, plain)):
            raise UnreadableFile(
                f"a page that {host} asks programs not to fetch (robots.txt)",
                code="robots",
                expected="a page that programs may fetch",
                do="look at it in a browser, and save the picture yourself",
            )

    def _read_robots(self, address: str) -> urllib.robotparser.RobotFileParser | None:
        parts = urllib.parse.urlsplit(address)
        there = f"{parts.scheme}://{parts.netloc}/robots.txt"
        answer = self._pages.get(there, now=self.now())
        if answer is None:

            def read(response: HTTPResponse, came_from: str) -> Answer:
                return Answer(response.status, came_from, b"".join(self._chunks(response, largest=LARGEST_PAGE)))

            answer = self._try(there, read, obey=False)
            self._pages.put(there, answer, now=self.now())
        if answer.status != 200:
            return None  # RFC 9309 2.3.1.3: no such file, no rules
        rules = urllib.robotparser.RobotFileParser(there)
        rules.parse(answer.content.decode("utf-8", "replace").splitlines())
        rules.modified()  # without it the library takes the rules for unread, and forbids everything
        return rules
