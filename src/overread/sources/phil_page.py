"""A record's page in the CDC's Public Health Image Library, read by the titles of its fields and not by its layout.

The library has changed its layout more than once (tables, then lists), and the words: what was "Description" is
"Caption" on newer pages. The titles have stayed, so a field is what stands between its title and the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from overread.sources.markup import Link, Page, Piece, joined

_TITLES = {
    "id#": "number", "id": "number",
    "description": "description", "caption": "description",
    "high resolution": "high_resolution",
    "content provider(s)": "content_provider", "content providers(s)": "content_provider",
    "content providers": "content_provider", "content provider": "content_provider",
    "creation date": "created",
    "photo credit": "credit",
    "source library": "source_library",
    "links": "links",
    "categories": "categories",
    "copyright restrictions": "copyright",
}  # fmt: skip
_PREFIX = re.compile(r"^\s*([A-Za-z#() ]{2,24}?)\s*:\s*(.*)$", re.DOTALL)
_OF_THE_TREE = ("skip navigation links.", "skip navigation links")
_LONGEST = 4000


@dataclass(frozen=True)
class Record:
    """What a record's page says of its picture, every field as the page words it; "" where it says nothing.

    Parameters
    ----------
    number : str
    description, content_provider, credit, categories, links, copyright : str
        Categories and links are divided by "; "; a link is "words <address>".
    created : str
        The year alone, where the page gives one: an archive keeps no dates.
    pictures : tuple of str
        Addresses of pictures of this number that the page shows or links to.
    post_back : (str, str) or None
        What to send back to the page for the high-resolution file, where it offers one in that way.
    """

    number: str
    description: str = ""
    content_provider: str = ""
    credit: str = ""
    created: str = ""
    links: str = ""
    categories: str = ""
    copyright: str = ""
    pictures: tuple[str, ...] = ()
    post_back: tuple[str, str] | None = None


def read_record(page: Page) -> Record | None:
    """Return the record on a page, or None where the page holds none (the library's own "not found" page).

    Parameters
    ----------
    page : Page

    Returns
    -------
    Record or None
    """
    spans = _spans(page.pieces)
    if not spans or spans[0][0] != "number":
        return None
    found: dict[str, list[tuple[int, int, list[Piece]]]] = {}
    for name, start, stop, pieces in spans:
        found.setdefault(name, []).append((start, stop, pieces))

    def words(name: str) -> str:
        return next((text for *_, pieces in found.get(name, ()) if (text := joined(pieces)[:_LONGEST])), "")

    number = re.match(r"\d{1,7}\b", words("number"))
    if number is None:
        return None
    return Record(
        number=number[0],
        description=words("description"),
        content_provider=words("content_provider"),
        credit=words("credit"),
        created=_year(words("created")),
        links="; ".join(text for start, stop, _ in found.get("links", ()) for text in _links(page, start, stop)),
        categories="; ".join(_items([p for *_, pieces in found.get("categories", ()) for p in pieces])),
        copyright=" | ".join(
            dict.fromkeys(filter(None, (joined(p)[:_LONGEST] for *_, p in found.get("copyright", ()))))
        ),
        pictures=_pictures(page, number[0]),
        post_back=next((link.post_back for link in page.links if _is_high_resolution(link)), None),
    )


def public_domain(copyright: str) -> bool:
    """True only where a copyright line says in so many words that the picture is in the public domain.

    An empty line, an unknown one, and one that says both are not (fail closed).

    Examples
    --------
    >>> public_domain("None - This image is in the public domain and thus free of any copyright restrictions.")
    True
    >>> public_domain("This image is copyright protected."), public_domain(""), public_domain("None")
    (False, False, False)
    >>> public_domain("None of the pictures shown here is in the public domain")
    False
    >>> public_domain("No part of this image is in the public domain.")
    False
    >>> public_domain("It was thought that this image is in the public domain; it is copyright of X.")
    False
    """
    text = " ".join(copyright.lower().split())
    # the sentence stands at the line's beginning or after a stop or dash: "no part of this image is in…" says the contrary
    says_so = re.search(
        r"(^|[-–—.|:;] ?)this (image|photograph|photo|illustration|picture|media|video) is in the public domain"
        r"(,? and (is )?thus free of any copyright restrictions)?(?P<more>[^.|]*)",
        text,
    )
    if says_so is None or says_so["more"].strip():  # "… in the public domain only in the United States"
        return False
    rest = text.replace("free of any copyright restrictions", "")
    restricted = re.search(r"copyright|©|\(c\)|all rights reserved|by permission|permission (is|must)", rest)
    doubtful = re.search(r"\bnot (yet )?in the public domain|no longer in the public domain|\bif this|\bunless\b", text)
    return restricted is None and doubtful is None


def _spans(pieces: tuple[Piece, ...]) -> list[tuple[str, int, int, list[Piece]]]:
    """Divide the text at its titles: (field, from piece, to piece, its pieces).

    It begins with the number, and ends where the element ends that holds both the number and the copyright line: what a
    page says in its footer is no field.
    """
    titles: list[tuple[str, int, Piece | None]] = []
    for n, piece in enumerate(pieces):
        title = _title(piece)
        if title is not None and (titles or title[0] == "number"):
            titles.append((title[0], n, title[1]))
    if not titles:
        return []
    last = max((n for name, n, _ in titles if name == "copyright"), default=titles[-1][1])
    whole = _common(pieces[titles[0][1]].inside, pieces[last].inside)
    end = last
    while end < len(pieces) and pieces[end].inside[: len(whole)] == whole:
        end += 1
    titles = [title for title in titles if title[1] < end]
    spans = []
    for i, (name, n, rest) in enumerate(titles):
        stop = titles[i + 1][1] if i + 1 < len(titles) else end
        value = [*([rest] if rest is not None else []), *pieces[n + 1 : stop]]
        if value and value[0].text.lstrip().startswith(":"):  # <b>ID#</b>: 2423
            value[0] = Piece(value[0].text.lstrip()[1:], True, value[0].inside)
        spans.append((name, n, stop, value))
    return spans


def _title(piece: Piece) -> tuple[str, Piece | None] | None:
    """Return which field a piece of text begins, and what of the value stands in the same piece."""
    alone = piece.text.strip().rstrip(":").strip().lower()
    if alone in _TITLES:
        return _TITLES[alone], None
    led = _PREFIX.match(piece.text)
    if led and piece.gap and led[1].strip().lower() in _TITLES:
        return _TITLES[led[1].strip().lower()], Piece(led[2], True, piece.inside)
    return None


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return one[:same]


def _items(pieces: list[Piece]) -> list[str]:
    """Return the entries of a list or tree, each once, without what only screen readers are told."""
    entries: list[list[Piece]] = []
    for piece in pieces:
        if piece.gap or not entries:
            entries.append([])
        entries[-1].append(piece)
    names = (joined(entry) for entry in entries)
    return list(dict.fromkeys(name for name in names if name and name.lower() not in _OF_THE_TREE))


def _links(page: Page, start: int, stop: int) -> list[str]:
    ours = (
        link for link in page.links if start < link.before < stop and link.address.startswith(("http://", "https://"))
    )
    return list(dict.fromkeys(f"{link.words} <{link.address}>" if link.words else link.address for link in ours))


def _pictures(page: Page, number: str) -> tuple[str, ...]:
    """Return the addresses on a page that are pictures of this record, not of its neighbours."""
    of_this = re.compile(rf"/PHIL_Images/(?:[^?#]*/)?{number}(?:_[a-z]+)?\.(?:jpe?g|png|tiff?)$", re.IGNORECASE)
    shown = (*(link.address for link in page.links), *page.pictures)
    return tuple(dict.fromkeys(address for address in shown if of_this.search(address)))


def _is_high_resolution(link: Link) -> bool:
    return link.post_back is not None and re.search(r"\bhi(gh)?[- ]?res", link.words, re.IGNORECASE) is not None


def _year(created: str) -> str:
    """Return the year of a creation date as the page words it ("1975", "May 4, 1975", "circa 1950s").

    Examples
    --------
    >>> _year("4/12/1975"), _year("circa 1950s"), _year("unknown")
    ('1975', '1950', '')
    """
    found = re.search(r"(?<!\d)(1[89]|20)\d\d(?!\d)", created)
    return found[0] if found else ""
