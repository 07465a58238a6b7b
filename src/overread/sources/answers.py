"""An answer of another computer: what it says of itself, and where it sends us."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse

import overread
from overread.errors import OverreadError, SourceError, UnreadableFile

BUSY = (429, 500, 502, 503, 504)
MOVED = (301, 302, 303, 307, 308)
_GONE = (404, 410)


@dataclass(frozen=True)
class Answer:
    """One answer: its status, the address it came from in the end, its bytes."""

    status: int
    address: str
    content: bytes = b""

    @property
    def missing(self) -> bool:
        """True for 404 and 410: there is nothing at that address."""
        return self.status in _GONE


def user_agent(contact: str) -> str:
    """Return the name under which we ask.

    Raises
    ------
    OverreadError
        For a contact that cannot stand in an HTTP header.

    Examples
    --------
    >>> user_agent("radiology@hospital.example").partition(" ")[2]
    '(radiology@hospital.example)'
    """
    if not (contact.isascii() and contact.isprintable()) or any(c in contact for c in "()"):
        raise OverreadError(
            "a contact with signs that a request cannot carry",
            expected="a mail or web address in plain letters",
            do="write it without line breaks and brackets",
        )
    return f"overread/{overread.__version__} ({contact or 'no contact given'})"


def host_of(address: str) -> str:
    return urllib.parse.urlsplit(address).netloc.rpartition("@")[2].lower()


def web_address(address: str) -> str:
    """Return an address in the form a request can carry; what stands on a page may be anything.

    Raises
    ------
    UnreadableFile
        ``bad-redirect`` for what is no address of the web.

    Examples
    --------
    >>> web_address("https://x.example/a picture.tif?n=ü#top")
    'https://x.example/a%20picture.tif?n=%C3%BC'
    """
    try:
        parts = urllib.parse.urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.hostname.encode("idna")
        known = known and (parts.port is None or parts.port > 0)
    except (ValueError, UnicodeError):
        known = False
    if not known or not re.fullmatch(r"[\w.\-:@\[\]]+", parts.netloc):
        raise UnreadableFile(
            "an address that is not one of the web",
            code="bad-redirect",
            expected="http or https, and a host",
            do="look the record up in a browser",
        )
    path, query = (urllib.parse.quote(part, safe="%/:=&?~+!$,;'@()*[]") for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def next_address(here: str, there: str) -> str:
    """Where a redirect leads; never out of http and https, never from https back to http."""
    try:
        there = urllib.parse.urljoin(here, there)
    except ValueError:
        there = ""
    there = web_address(there)
    if here.startswith("https:") and there.startswith("http:"):
        raise UnreadableFile(
            "a redirect from https to http",
            code="bad-redirect",
            expected="https",
            do="look the record up in a browser",
        )
    return there


def let_in(answer: Answer) -> Answer:
    if answer.status in (401, 403):
        raise SourceError(
            f"{host_of(answer.address)} lets no program in ({answer.status})",
            expected="a site open to the public",
            do="name yourself with a contact, or save the pictures in a browser and collect the folder",
        )
    return answer


def seconds_to_wait(said: str, *, now: float) -> float:
    """Return a Retry-After as seconds: it is a number or a date.

    Examples
    --------
    >>> [seconds_to_wait(said, now=10.0) for said in ("30", "Thu, 01 Jan 1970 00:01:00 GMT", "soon")]
    [30.0, 50.0, 0.0]
    """
    if said.strip().isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def in_words(error: Exception) -> str:
    """Say what the network said; a timeout has no words of its own."""
    reason = getattr(error, "reason", error)
    return "no answer" if isinstance(reason, TimeoutError) else str(reason) or type(reason).__name__


def too_large(size: int, largest: int) -> UnreadableFile:
    return UnreadableFile(
        f"an answer of {size:,} bytes or more", code="too-large", expected=f"at most {largest:,}", do="look it up"
    )


def part_begins_at(response: HTTPResponse) -> int:
    """Where the delivered part begins ("Content-Range: bytes 100-199/200" → 100); -1 where it is not said."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else -1


def validator(response: HTTPResponse) -> str:
    """What proves on another day that the file there is still the same; "" where the site gives no proof."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""
