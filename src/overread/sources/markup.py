"""A web page as a person sees it: pieces of text in order, links, pictures, and the form one could send.

Nothing here knows a site. Pages of real sites are rarely well-formed, so nothing is refused: an end tag that nobody
opened is passed over, and one that nobody closed ends with what it stands in.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_UNSEEN = frozenset("script style template noscript title".split())
_INLINE = frozenset("a abbr b big cite code em font i label mark q s small span strong sub sup u".split())
_POST_BACK = re.compile(r"__doPostBack\(\s*['\"]([^'\"]*)['\"]\s*,\s*['\"]([^'\"]*)['\"]\s*\)")


@dataclass(frozen=True)
class Piece:
    """Some text between two tags.

    Parameters
    ----------
    text : str
        With entities resolved and white space as single spaces; never empty.
    gap : bool
        True when a new line, cell or paragraph began before it.
    inside : tuple of int
        The elements it stands in, outermost first, numbered in the order they were opened.
    """

    text: str
    gap: bool
    inside: tuple[int, ...]


@dataclass(frozen=True)
class Link:
    """A link: its words, its absolute address, and before which piece of text it stands."""

    words: str
    address: str
    before: int

    @property
    def post_back(self) -> tuple[str, str] | None:
        """Target and argument of an ASP.NET post-back; None for an ordinary link."""
        found = _POST_BACK.search(self.address)
        return (found[1], found[2]) if found else None


@dataclass(frozen=True)
class Input:
    """A field of a form: what kind, its name, its value, whether it is ticked, and the words beside it."""

    kind: str
    name: str
    value: str
    ticked: bool = False
    words: str = ""


@dataclass(frozen=True)
class Form:
    """A form: where it is sent to, and its fields."""

    action: str
    inputs: tuple[Input, ...] = ()

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields: what a site gives along to recognise its own page again."""
        return {i.name: i.value for i in self.inputs if i.kind == "hidden" and i.name}


@dataclass(frozen=True)
class Page:
    """What stands on a page.

    Parameters
    ----------
    address : str
        Where it came from; relative links are meant from there.
    pieces, links, pictures, forms : tuples
        In the order of the page; ``pictures`` are absolute addresses.
    """

    address: str
    pieces: tuple[Piece, ...] = ()
    links: tuple[Link, ...] = ()
    pictures: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()

    @property
    def form(self) -> Form:
        """The form that the page's own buttons and post-backs belong to: the one with hidden fields, else the first."""
        return next((f for f in self.forms if f.hidden), self.forms[0] if self.forms else Form(self.address))


def read_page(content: bytes, address: str) -> Page:
    """Read a page.

    Parameters
    ----------
    content : bytes
        UTF-8; what is not becomes "�".
    address : str

    Examples
    --------
    >>> page = read_page(b"<table><tr><td>Year:<td>19&#55;5</table><a href='b.html'>next</a>", "https://x.example/a/")
    >>> [piece.text for piece in page.pieces], page.links[0].address
    (['Year:', '1975', 'next'], 'https://x.example/a/b.html')
    """
    reader = _Reader(address=address)
    text = content.decode("utf-8", "replace").replace("<![", "<! [")  # on some marked sections the library gives up
    reader.feed(text)
    reader.close()
    return reader.page()


def joined(pieces: tuple[Piece, ...] | list[Piece]) -> str:
    """Return pieces as one line of text.

    Examples
    --------
    >>> joined(read_page(b"<p>of <i>S. aureus</i>, 1975</p><p>End.</p>", "").pieces)
    'of S. aureus, 1975 End.'
    """
    return " ".join("".join((" " if p.gap else "") + p.text for p in pieces).split())


@dataclass
class _Reader(HTMLParser):
    """Walks through the tags and keeps what a person would see."""

    address: str
    pieces: list[Piece] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    forms: list[tuple[str, list[Input]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, int]] = []
        self._opened = 0
        self._gap = True
        self._link: tuple[str, int, list[str]] | None = None

    def page(self) -> Page:
        self._end_link()
        return Page(
            self.address,
            tuple(self.pieces),
            tuple(self.links),
            tuple(self.pictures),
            tuple(Form(action, tuple(inputs)) for action, inputs in self.forms),
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self._gap = self._gap or tag not in _INLINE
        if tag == "a" and told.get("href"):
            self._end_link()
            self._link = (self._absolute(told["href"]), len(self.pieces), [told.get("title", "")])
        elif tag == "img":
            self._picture(told)
        elif tag == "form":
            self.forms.append((self._absolute(told.get("action", "")), []))
        elif tag in ("input", "button"):
            kind = told.get("type", "text" if tag == "input" else "submit").lower()
            words = " ".join(filter(None, (told.get("title"), told.get("alt"), told.get("placeholder"))))
            if not self.forms:
                self.forms.append((self.address, []))
            self.forms[-1][1].append(Input(kind, told.get("name", ""), told.get("value", ""), "checked" in told, words))
        if tag not in _VOID:
            self._opened += 1
            self._open.append((tag, self._opened))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self._gap = self._gap or tag not in _INLINE
        if tag == "a":
            self._end_link()
        for n in range(len(self._open) - 1, -1, -1):
            if self._open[n][0] == tag:
                del self._open[n:]
                break

    def handle_data(self, data: str) -> None:
        if any(tag in _UNSEEN for tag, _ in self._open):
            return
        text = re.sub(r"\s+", " ", data)
        if not text.strip():
            self._space_before_next(text)
            return
        self.pieces.append(Piece(text, self._gap, tuple(number for _, number in self._open)))
        self._gap = False
        if self._link is not None:
            self._link[2].append(text)

    def _space_before_next(self, text: str) -> None:
        """Keep a lone space between two inline elements: it is the space between two words."""
        if text and self.pieces and not self._gap:
            last = self.pieces[-1]
            self.pieces[-1] = Piece(last.text.rstrip() + " ", last.gap, last.inside)

    def _picture(self, told: dict[str, str]) -> None:
        if told.get("src"):
            self.pictures.append(self._absolute(told["src"]))
        if self._link is not None:
            self._link[2].append(told.get("alt", ""))

    def _end_link(self) -> None:
        if self._link is not None:
            address, before, words = self._link
            self.links.append(Link(" ".join(" ".join(words).split()), address, before))
            self._link = None

    def _absolute(self, address: str) -> str:
        """An address as meant from this page; one that cannot be understood stays as it is."""
        try:
            return urllib.parse.urljoin(self.address, address.strip())
        except ValueError:
            return address
