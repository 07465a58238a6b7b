"""The CDC's Public Health Image Library (PHIL): pictures by number or by search, each with its credit and its copyright.

``phil:2423``, ``phil:2423,2424-2430``, ``phil:chest x-ray``, ``phil:chest x-ray?most=50``. A picture is taken only when its
record says that it is in the public domain. What the record says lies beside the picture, as ``<picture>.json``.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from overread.errors import OverreadError, UnreadableFile
from overread.sources.brought import Brought, Missed
from overread.sources.kept import write_json
from overread.sources.manners import Manners
from overread.sources.markup import Page, read_page
from overread.sources.phil_page import Record, public_domain, read_record
from overread.sources.phil_search import search
from overread.sources.polite import Session

SITE = "https://phil.cdc.gov/"
MOST = 100
"""Records of a search that are asked for when the word does not say how many."""
MOST_EVER = 5000
LARGEST = 256 << 20
"""Bytes of one picture."""

PUBLIC = "public domain"
ANY = "not checked: any copyright was asked for"
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM")
_OPTIONS = ("most", "contact", "site", "any-copyright")


@dataclass(frozen=True)
class Wanted:
    """A ``phil:`` word, understood.

    Parameters
    ----------
    numbers : tuple of str
        Record numbers in order; empty for a search.
    term : str
        What is searched for; "" for numbers.
    most : int
        Of a search.
    contact : str
        For the user agent.
    site : str
        The library's address; another one for a mirror.
    any_copyright : bool
        Take a picture whatever its copyright line says.
    """

    numbers: tuple[str, ...] = ()
    term: str = ""
    most: int = MOST
    contact: str = ""
    site: str = SITE
    any_copyright: bool = False


def understand(word: str) -> Wanted:
    """Return what a word asks for.

    Raises
    ------
    OverreadError
        For a word without numbers or terms, an option that is not known, or more than ``MOST_EVER`` records.

    Examples
    --------
    >>> understand("phil:2423,2425-2427").numbers
    ('2423', '2425', '2426', '2427')
    >>> wanted = understand("phil:chest x-ray?most=50&any-copyright")
    >>> wanted.term, wanted.most, wanted.any_copyright
    ('chest x-ray', 50, True)
    """
    asked, _, told = word.partition(":")[2].strip().partition("?")
    options = _options(told)
    most = options.get("most", str(MOST))
    if not most.isdecimal() or not 1 <= int(most) <= MOST_EVER:
        raise _bad("a number of records that cannot be asked for", f"most=1 to most={MOST_EVER:,}")
    site = options.get("site", SITE)
    if not site.startswith(("http://", "https://")):
        raise _bad("a site that is no web address", "site=https://…")
    numbers = _numbers(asked)
    if not asked.strip():
        raise _bad("a word that names nothing", "phil:2423, phil:2423,2430-2440 or phil:chest x-ray")
    return Wanted(
        numbers,
        "" if numbers else " ".join(asked.split()),
        int(most),
        options.get("contact", ""),
        site.rstrip("/") + "/",
        "any-copyright" in options,
    )


def fetch(
    word: str,
    *,
    into: Path,
    session: Session | None = None,
    tell: Callable[[str], None] = lambda line: None,
    each: Callable[[Iterable[str]], Iterable[str]] = lambda numbers: numbers,
) -> Brought:
    """Fetch what a ``phil:`` word names into a folder; what lies there already is not asked for again.

    Parameters
    ----------
    word : str
    into : Path
        Gets the folders ``pictures`` (each picture, and beside it ``<picture>.json``), ``pages`` and ``searches``.
    session : Session, optional
        How the site is asked; by default politely, once a second.
    tell : callable
        Hears why it takes long.
    each : callable
        Wraps the record numbers, for a progress bar.

    Returns
    -------
    Brought

    Raises
    ------
    OverreadError
        For a word that is not understood.
    SourceError
        When the site is down or lets nobody in. What was fetched stays, and is not fetched again.
    """
    wanted = understand(word)
    if session is None:
        session = Session(cache=into / "pages", manners=Manners(contact=wanted.contact), tell=tell)
    notes: list[str] = []
    numbers = wanted.numbers or _searched(session, wanted, into, notes)
    paths: list[Path] = []
    named: list[str] = []
    missed: list[Missed] = []
    for number in each(numbers):
        try:
            paths.append(_kept(wanted, into, number) or _fetch_one(session, wanted, into, number))
            named.append(f"phil:{number}")
        except UnreadableFile as refusal:
            missed.append(Missed(f"phil:{number}", refusal.code, str(refusal)))
    if wanted.any_copyright:
        notes.append("pictures were taken whatever their copyright line says: read each before you pass one on")
    return Brought(tuple(paths), tuple(missed), tuple(notes), tuple(named), session.asked)


def _fetch_one(session: Session, wanted: Wanted, into: Path, number: str) -> Path:
    """Fetch one record: its page first, and its picture only when we may."""
    answer = session.page(urllib.parse.urljoin(wanted.site, f"Details.aspx?pid={number}"))
    page = read_page(answer.content, answer.address)
    record = None if answer.missing or answer.status != 200 else read_record(page)
    if record is None:
        raise UnreadableFile(
            f"no record of this number (an answer of {answer.status}, {len(answer.content):,} bytes)",
            code="no-such-record",
            expected="a page with the title ID#",
            do="look the number up in the library",
        )
    if record.number != number:
        raise UnreadableFile(
            f"the page of record {record.number}",
            code="other-record",
            expected=f"record {number}",
            do="try again later",
        )
    if not wanted.any_copyright:
        _check_copyright(record)
    return _picture(session, wanted, into, record, page)


def _check_copyright(record: Record) -> None:
    """Refuse what is not said to be free (fail closed)."""
    if not record.copyright:
        raise UnreadableFile(
            "a record without a copyright line",
            code="no-copyright-line",
            expected="Copyright Restrictions: None - … public domain …",
            do="look the record up; if you may use it, ask for it with ?any-copyright",
        )
    if not public_domain(record.copyright):
        raise UnreadableFile(
            f"a picture that is not said to be in the public domain: “{_first_words(record.copyright)}”",
            code="not-public-domain",
            expected="a copyright line that says “this image is in the public domain”",
            do="ask the content provider; if you may use it, ask for it with ?any-copyright",
        )


def _picture(session: Session, wanted: Wanted, into: Path, record: Record, page: Page) -> Path:
    """Fetch the best picture there is, and write what the record says beside it."""
    folder = into / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    tried = 0
    for name, address, fields in _places(wanted, record, page):
        path = folder / name
        try:
            tried += 1
            answer = session.file(address, path, largest=LARGEST, fields=fields, looks_right=_is_picture)
        except UnreadableFile as refusal:
            if refusal.code != "other-content":
                raise
            continue
        if answer.status == 200:
            _write_record(wanted, record, path, answer.address)
            return path
    raise UnreadableFile(
        f"a record without a picture: none at {tried} addresses",
        code="picture-missing",
        expected="a .tif, or the small _lores.jpg",
        do="look the record up; some are films or texts",
    )


def _places(wanted: Wanted, record: Record, page: Page) -> list[tuple[str, str, dict[str, str] | None]]:
    """Return where the picture may lie, the best first: (file name, address, form to send)."""
    number = record.number
    usual = urllib.parse.urljoin(wanted.site, f"PHIL_Images/{number}/{number}")
    small = [a for a in record.pictures if a.lower().endswith("_lores.jpg")]
    if not any(a.endswith(f"/{number}/{number}_lores.jpg") for a in small):  # shown from another folder, or not at all
        small.append(f"{usual}_lores.jpg")
    large = [a for a in record.pictures if a.lower().endswith((".tif", ".tiff"))]
    large = list(dict.fromkeys((*large, *(a[: -len("_lores.jpg")] + ".tif" for a in small))))
    places: list[tuple[str, str, dict[str, str] | None]] = [(f"{number}.tif", a, None) for a in large]
    if record.post_back is not None:
        target, argument = record.post_back
        form = {**page.form.hidden, "__EVENTTARGET": target, "__EVENTARGUMENT": argument}
        places.append((f"{number}.tif", page.form.action, form))
    return places + [(f"{number}_lores.jpg", a, None) for a in small]


def _write_record(wanted: Wanted, record: Record, picture: Path, address: str) -> None:
    """Write what the record says beside its picture: last, so that a picture with a record is whole."""
    said = {
        "source": "PHIL",
        "source_number": record.number,
        "credit": record.credit,
        "content_provider": record.content_provider,
        "description": record.description,
        "categories": record.categories,
        "created": record.created,
        "links": record.links,
        "copyright": record.copyright,
        "copyright_checked": PUBLIC if public_domain(record.copyright) else ANY,
        "address": urllib.parse.urljoin(wanted.site, f"Details.aspx?pid={record.number}"),
        "picture": "the small one; there was no .tif" if picture.name.endswith("_lores.jpg") else "",
    }
    content = picture.read_bytes()
    write_json(
        picture.with_name(picture.name + ".json"),
        {
            "overread": "picture",
            "version": 1,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "fetched_from": address,
            "attributes": {name: text for name, text in said.items() if text},
        },
    )


def _kept(wanted: Wanted, into: Path, number: str) -> Path | None:
    """Return the picture of a record that lies here whole, and may be used as this word asks for it."""
    for name in (f"{number}.tif", f"{number}_lores.jpg"):
        picture = into / "pictures" / name
        try:
            told = json.loads(picture.with_name(name + ".json").read_bytes())
            whole = picture.stat().st_size == told["bytes"]
            free = told["attributes"].get("copyright_checked") == PUBLIC
            ours = told["attributes"].get("address", "").startswith(wanted.site)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        if whole and ours and (free or wanted.any_copyright):
            return picture
    return None


def _searched(session: Session, wanted: Wanted, into: Path, notes: list[str]) -> tuple[str, ...]:
    """Return the numbers a search lists; the list is kept for as long as a page, so that a resumed run asks nothing."""
    name = hashlib.sha256(f"{wanted.site} {wanted.term.lower()}".encode()).hexdigest()
    slot = into / "searches" / f"{name}.json"
    try:
        told = json.loads(slot.read_bytes())
        numbers, complete, said = tuple(map(str, told["numbers"])), bool(told["complete"]), told["said"]
        young = abs(session.now() - float(told["asked"])) < session.manners.keep_days * 86400
    except (OSError, ValueError, KeyError, TypeError):
        numbers, complete, said, young = (), False, None, False
    if not young or not (complete or len(numbers) >= wanted.most):
        listed = search(session, wanted.site, wanted.term, most=wanted.most)
        numbers, complete, said = listed.numbers, listed.complete, listed.said
        kept = {"term": wanted.term, "asked": session.now(), "numbers": numbers, "complete": complete, "said": said}
        write_json(slot, kept)
    if told := _of_how_many(len(numbers), complete, said, wanted.most):
        notes.append(told)
    if not numbers:
        raise OverreadError(
            "a search that finds no record", expected="at least one", do="try other words, or look in the library"
        )
    return numbers[: wanted.most]


def _of_how_many(listed: int, complete: bool, said: int | None, most: int) -> str:
    """Say what a search found beyond what is fetched; "" where that is all.

    Examples
    --------
    >>> _of_how_many(3, False, 10, 3)
    'the first 3 of 10 records that the search lists; ask for more with ?most='
    >>> _of_how_many(15, False, 57, 100)
    'the library says its search finds 57 records, and its list could be read to 15: give the others by number'
    """
    if listed >= most and (listed > most or not complete):
        return f"the first {most:,}{f' of {said:,}' if said else ''} records that the search lists; ask for more with ?most="
    if said is not None and listed < said:
        return (
            f"the library says its search finds {said:,} records, and its list could be read to {listed:,}: "
            "give the others by number"
        )
    return ""


def _numbers(asked: str) -> tuple[str, ...]:
    """Return the record numbers of "2423, 2425-2427"; empty where it is not numbers but words to search for."""
    if not re.fullmatch(r"[\d\s,–-]+", asked) or not re.search(r"\d", asked):
        return ()
    numbers: dict[str, None] = {}
    for part in re.split(r"[\s,]+", re.sub(r"\s*[–-]\s*", "-", asked.strip(" ,"))):
        found = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if found is None or last < first or first < 1:
            raise _bad("numbers that are no list", "phil:2423,2425-2427")
        if len(numbers) + last - first + 1 > MOST_EVER:
            raise _bad(f"more than {MOST_EVER:,} records in one word", "fewer, or several runs")
        numbers |= dict.fromkeys(str(n) for n in range(first, last + 1))
    return tuple(numbers)


def _options(told: str) -> dict[str, str]:
    """Return what stands behind the question mark; a word that is not known is refused by name."""
    options: dict[str, str] = {}
    for option in filter(None, told.split("&")):
        name, _, value = option.partition("=")
        if name not in _OPTIONS:
            raise _bad(f"the option {name!r}", " or ".join(_OPTIONS))
        options[name] = urllib.parse.unquote(value)
    return options


def _first_words(text: str) -> str:
    """Return the first sentence of a text, or what of it fits on a line.

    Examples
    --------
    >>> _first_words("This image is copyright protected. Any public or private use of it …")
    'This image is copyright protected.'
    """
    first = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    return first if len(first) <= 120 else first[:119].rsplit(" ", 1)[0] + " …"


def _is_picture(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def _bad(came: str, expected: str) -> OverreadError:
    return OverreadError(came, expected=expected, do="see docs/phil.md")
